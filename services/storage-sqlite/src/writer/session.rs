//! One transaction of the writer.

use rusqlite::{Connection, Params, Row};

use crate::options::{OnStep, Step};
use crate::stats::Tally;

/// What a row costs beyond its bytes, about.
const ROW_OVERHEAD_BYTES: u64 = 500;

/// A transaction that has begun. Dropped without [`commit`](Self::commit) it stays open: then the connection is closed.
pub(super) struct Session<'a> {
    connection: &'a Connection,
    on_step: Option<&'a OnStep>,
    changes_before: u64,
    written_bytes: u64,
    now: Option<i64>,
    pub(super) tally: Tally,
}

impl<'a> Session<'a> {
    pub(super) fn begin(connection: &'a Connection, on_step: Option<&'a OnStep>) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let changes_before = connection.total_changes();
        Ok(Self { connection, on_step, changes_before, written_bytes: 0, now: None, tally: Tally::default() })
    }

    /// Runs a statement that writes `bytes` bytes, and returns how many rows it changed.
    pub(super) fn execute(&mut self, sql: &'static str, params: impl Params, bytes: usize) -> rusqlite::Result<usize> {
        self.step(Step::BeforeStatement);
        let changed = self.connection.prepare_cached(sql)?.execute(params)?;
        self.step(Step::AfterStatement);
        self.written_bytes += bytes as u64 + ROW_OVERHEAD_BYTES * changed.max(1) as u64;
        Ok(changed)
    }

    /// The first row of a query, if it has any.
    pub(super) fn first<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(read).transpose()
    }

    /// Seconds since 1970, by SQLite's clock; the same throughout the transaction. Only ages of tombstones depend on it.
    pub(super) fn now(&mut self) -> rusqlite::Result<i64> {
        if let Some(now) = self.now {
            return Ok(now);
        }
        let now = self.connection.prepare_cached("SELECT unixepoch()")?.query_row([], |row| row.get(0))?;
        self.now = Some(now);
        Ok(now)
    }

    /// About how much has been written so far.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Makes all of it durable. `None` if there was nothing to commit.
    pub(super) fn commit(self) -> rusqlite::Result<Option<Tally>> {
        self.step(Step::BeforeCommit);
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.step(Step::AfterCommit);
        let has_changed = self.connection.total_changes() != self.changes_before;
        Ok(has_changed.then_some(self.tally))
    }

    fn step(&self, step: Step) {
        if let Some(on_step) = self.on_step {
            on_step(step);
        }
    }
}
