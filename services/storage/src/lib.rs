//! The ports through which everything durable goes, their conformance suite, the memory adapter, and an adapter that
//! injects faults into any other.
//!
//! Three outcomes, everywhere: it happened, it did not, **it may have** (`Unknown`). Nothing converts the third into
//! one of the others. Absent on purpose: any knowledge of what the bytes mean.
//!
//! Start at [`Log`] and [`Table`].

pub mod checksum;
pub mod conformance;
mod dice;
mod error;
pub mod fault;
mod log;
pub mod memory;
mod registry;
mod table;

pub use error::{StorageError, StorageResult};
pub use log::{Append, Epoch, Group, GroupId, Head, Log, LogId, Opened, OwnerNonce, Reopen, Seq};
pub use registry::{CompareAndSet, Registry, RegistryEntry};
pub use table::{
    PartitionCursor, PartitionKey, PartitionPage, PartitionWrite, Row, RowKey, ScanOrder, ScanPage, ScanRange, Table,
    Version,
};

use std::sync::Arc;

/// The ports of one store, as a process uses them. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// Fenced logs.
    pub log: Arc<dyn Log>,
    /// Versioned rows.
    pub table: Arc<dyn Table>,
    /// Small, strongly consistent values.
    pub registry: Arc<dyn Registry>,
}
