//! The memory adapter against the conformance suite, bare and behind a fault adapter that injects nothing.

use async_trait::async_trait;
use storage::Store;
use storage::conformance::Subject;
use storage::fault::{FaultPlan, FaultyStore};
use storage::memory::MemoryStore;

struct InMemory(MemoryStore);

#[async_trait]
impl Subject for InMemory {
    fn store(&self) -> Store {
        self.0.store()
    }
    async fn restart(&mut self) {}
}

struct BehindFaults(FaultyStore);

#[async_trait]
impl Subject for BehindFaults {
    fn store(&self) -> Store {
        self.0.store()
    }
    async fn restart(&mut self) {}
}

mod memory {
    use super::*;
    storage::conformance_suite!(InMemory(MemoryStore::new()));
}

mod without_faults {
    use super::*;
    storage::conformance_suite!(BehindFaults(FaultyStore::wrap(MemoryStore::new().store(), FaultPlan::new(1))));
}
