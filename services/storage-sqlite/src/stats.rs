//! What the store has done so far: for tests, and as metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqliteStats {
    /// Groups appended to logs.
    pub log_appends: u64,
    /// Bytes in those groups.
    pub log_append_bytes: u64,
    /// Rows put, whether or not a higher version was there.
    pub table_rows_written: u64,
    /// Rows deleted, whether or not they were there.
    pub table_rows_deleted: u64,
    /// Commits, each with one fsync.
    pub fsyncs: u64,
    /// Rows, pages, tails and registry entries read.
    pub reads: u64,
    /// Times that the write-ahead log was copied into the file, each with two fsyncs beyond those of commits.
    pub checkpoints: u64,
    /// The length of the write-ahead log after the latest commit, in bytes.
    pub wal_bytes: u64,
}

/// The counters behind [`SqliteStats`], shared by the store's threads.
#[derive(Default)]
pub(crate) struct Counters {
    log_appends: AtomicU64,
    log_append_bytes: AtomicU64,
    table_rows_written: AtomicU64,
    table_rows_deleted: AtomicU64,
    fsyncs: AtomicU64,
    reads: AtomicU64,
    checkpoints: AtomicU64,
    pub(crate) wal_bytes: AtomicU64,
}

/// What one transaction has done.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) log_appends: u64,
    pub(crate) log_append_bytes: u64,
    pub(crate) table_rows_written: u64,
    pub(crate) table_rows_deleted: u64,
}

impl Counters {
    /// Counts a commit and what was in it.
    pub(crate) fn committed(&self, tally: &Tally) {
        add(&self.log_appends, tally.log_appends);
        add(&self.log_append_bytes, tally.log_append_bytes);
        add(&self.table_rows_written, tally.table_rows_written);
        add(&self.table_rows_deleted, tally.table_rows_deleted);
        add(&self.fsyncs, 1);
        // Looked up each time, since a recorder may be installed after the store was opened.
        metrics::counter!("outlast_log_appends_total").increment(tally.log_appends);
        metrics::counter!("outlast_log_append_bytes_total").increment(tally.log_append_bytes);
        metrics::counter!("outlast_table_rows_written_total").increment(tally.table_rows_written);
        metrics::counter!("outlast_table_rows_deleted_total").increment(tally.table_rows_deleted);
        metrics::counter!("outlast_store_fsyncs_total").increment(1);
    }

    pub(crate) fn read(&self, reads: u64) {
        add(&self.reads, reads);
        metrics::counter!("outlast_store_reads_total").increment(reads);
    }

    pub(crate) fn checkpointed(&self) {
        add(&self.checkpoints, 1);
        metrics::counter!("outlast_store_checkpoints_total").increment(1);
    }

    pub(crate) fn stats(&self) -> SqliteStats {
        SqliteStats {
            log_appends: get(&self.log_appends),
            log_append_bytes: get(&self.log_append_bytes),
            table_rows_written: get(&self.table_rows_written),
            table_rows_deleted: get(&self.table_rows_deleted),
            fsyncs: get(&self.fsyncs),
            reads: get(&self.reads),
            checkpoints: get(&self.checkpoints),
            wal_bytes: get(&self.wal_bytes),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
