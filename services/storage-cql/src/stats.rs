//! Counts of the store's requests to the database: for tests, for benchmarks that count, and as metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts of one store's requests to the database since it was connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CqlStats {
    /// Conditional batches: appends of groups, and changes of registry entries.
    pub conditional_batches: u64,
    /// Other conditional writes: opening, rolling and trimming logs, watermarks.
    pub conditional_updates: u64,
    /// Reads at serial consistency: fence checks, heads of logs, registry entries.
    pub serial_reads: u64,
    /// Other reads, each page of a scan counted.
    pub reads: u64,
    /// Partitions written by the table port.
    pub table_writes: u64,
    /// Rows put by the table port.
    pub table_rows_written: u64,
    /// Rows deleted by the table port.
    pub table_rows_deleted: u64,
    /// Chunks of large groups.
    pub chunk_writes: u64,
    /// Partitions deleted: trimmed segments and what lay beside them, dropped partitions of tables.
    pub partition_deletes: u64,
    /// Groups acknowledged.
    pub log_appends: u64,
    /// Bytes in those groups.
    pub log_append_bytes: u64,
    /// Requests whose outcome is not known.
    pub unknowns: u64,
}

/// What kind of request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ConditionalBatch,
    ConditionalUpdate,
    SerialRead,
    Read,
    TableWrite,
    ChunkWrite,
    PartitionDelete,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::ConditionalBatch => "conditional_batch",
            Self::ConditionalUpdate => "conditional_update",
            Self::SerialRead => "serial_read",
            Self::Read => "read",
            Self::TableWrite => "table_write",
            Self::ChunkWrite => "chunk_write",
            Self::PartitionDelete => "partition_delete",
        }
    }
}

/// The counters behind [`CqlStats`].
#[derive(Default)]
pub(crate) struct Counters {
    conditional_batches: AtomicU64,
    conditional_updates: AtomicU64,
    serial_reads: AtomicU64,
    reads: AtomicU64,
    table_writes: AtomicU64,
    table_rows_written: AtomicU64,
    table_rows_deleted: AtomicU64,
    chunk_writes: AtomicU64,
    partition_deletes: AtomicU64,
    log_appends: AtomicU64,
    log_append_bytes: AtomicU64,
    unknowns: AtomicU64,
}

impl Counters {
    /// Counts a request that has ended, however it did.
    pub(crate) fn requested(&self, kind: Kind, took: Duration) {
        let counter = match kind {
            Kind::ConditionalBatch => &self.conditional_batches,
            Kind::ConditionalUpdate => &self.conditional_updates,
            Kind::SerialRead => &self.serial_reads,
            Kind::Read => &self.reads,
            Kind::TableWrite => &self.table_writes,
            Kind::ChunkWrite => &self.chunk_writes,
            Kind::PartitionDelete => &self.partition_deletes,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        // Looked up each time, since a recorder may be installed after the store was connected.
        metrics::counter!("outlast_cql_requests_total", "kind" => kind.label()).increment(1);
        metrics::histogram!("outlast_cql_request_seconds", "kind" => kind.label()).record(took.as_secs_f64());
    }

    pub(crate) fn unknown(&self, kind: Kind) {
        self.unknowns.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("outlast_cql_unknown_outcomes_total", "kind" => kind.label()).increment(1);
    }

    pub(crate) fn appended(&self, bytes: usize) {
        self.log_appends.fetch_add(1, Ordering::Relaxed);
        self.log_append_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        metrics::counter!("outlast_log_appends_total").increment(1);
        metrics::counter!("outlast_log_append_bytes_total").increment(bytes as u64);
    }

    pub(crate) fn table_rows(&self, written: usize, deleted: usize) {
        self.table_rows_written.fetch_add(written as u64, Ordering::Relaxed);
        self.table_rows_deleted.fetch_add(deleted as u64, Ordering::Relaxed);
        metrics::counter!("outlast_table_rows_written_total").increment(written as u64);
        metrics::counter!("outlast_table_rows_deleted_total").increment(deleted as u64);
    }

    pub(crate) fn stats(&self) -> CqlStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CqlStats {
            conditional_batches: get(&self.conditional_batches),
            conditional_updates: get(&self.conditional_updates),
            serial_reads: get(&self.serial_reads),
            reads: get(&self.reads),
            table_writes: get(&self.table_writes),
            table_rows_written: get(&self.table_rows_written),
            table_rows_deleted: get(&self.table_rows_deleted),
            chunk_writes: get(&self.chunk_writes),
            partition_deletes: get(&self.partition_deletes),
            log_appends: get(&self.log_appends),
            log_append_bytes: get(&self.log_append_bytes),
            unknowns: get(&self.unknowns),
        }
    }
}
