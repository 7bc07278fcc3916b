//! An adapter that injects faults into any other: each method can fail, fail after taking effect, or stall, and so can
//! whatever touches a given partition.
//!
//! The faults follow from a seed: what befalls the nth call of a method depends on the seed, the method and n alone, so
//! a run whose calls come in the same order meets the same faults. A [`FaultControl`] heals the store, breaks it again,
//! or arranges the fate of single calls while it is in use.

mod control;
mod in_front;
mod log;
mod plan;
mod registry;
mod table;

pub use control::FaultControl;
pub use in_front::TableInFront;
pub use plan::{Fate, FaultPlan, Faults, Method};

use std::sync::Arc;

use self::log::FaultyLog;
use self::registry::FaultyRegistry;
use self::table::FaultyTable;
use crate::{StorageError, Store};

/// A store that fails as planned.
#[derive(Clone)]
pub struct FaultyStore {
    store: Store,
    control: FaultControl,
}

impl FaultyStore {
    /// Puts faults in front of `inner`, from now on, as `plan` says.
    #[must_use]
    pub fn wrap(inner: Store, plan: FaultPlan) -> Self {
        let control = FaultControl::new(plan);
        let store = Store {
            log: Arc::new(FaultyLog { inner: inner.log, control: control.clone() }),
            table: Arc::new(FaultyTable { inner: inner.table, control: control.clone() }),
            registry: Arc::new(FaultyRegistry { inner: inner.registry, control: control.clone() }),
        };
        Self { store, control }
    }

    /// The ports with their faults.
    #[must_use]
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// What heals and breaks the store at run time.
    #[must_use]
    pub fn control(&self) -> FaultControl {
        self.control.clone()
    }
}

/// The error of a call that failed before it did anything.
fn refused(method: Method) -> StorageError {
    let message = format!("injected fault before {method:?}");
    StorageError::Unavailable { message, retry_after: std::time::Duration::from_millis(1) }
}

/// The error of a call that failed although it took effect.
fn lost(method: Method) -> StorageError {
    StorageError::Unknown(format!("injected fault after {method:?}"))
}
