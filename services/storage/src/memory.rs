//! The adapter that keeps everything in memory: for tests, simulation and servers without a file.
//!
//! It is a real store, not a mock: it fences, versions and trims like any other. What it holds lives as long as the
//! last clone of its [`MemoryStore`], so a test "restarts a process" by dropping everything but that.

mod log;
mod registry;
mod table;

use std::sync::Arc;

use self::log::MemoryLog;
use self::registry::MemoryRegistry;
use self::table::MemoryTable;
use crate::Store;

/// A store in memory. Clones share their content.
#[derive(Clone, Default)]
pub struct MemoryStore {
    log: Arc<MemoryLog>,
    table: Arc<MemoryTable>,
    registry: Arc<MemoryRegistry>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The ports of this store. Every call gives the same content; openers of one log fence each other.
    #[must_use]
    pub fn store(&self) -> Store {
        Store { log: self.log.clone(), table: self.table.clone(), registry: self.registry.clone() }
    }
}
