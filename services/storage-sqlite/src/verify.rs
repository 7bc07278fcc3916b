//! Walks everything that a file holds, and holds it against every checksum that there is.
//!
//! The file may be in use: it is read as it was at one moment, beside the process that has it. Nothing is written to it.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, Row};
use storage::checksum;
use storage::{Epoch, GroupId, LogId, Seq};

use crate::error::{Cause, damage};
use crate::file_lock::FileLock;
use crate::reader::{entry_name, group_name, row_name};
use crate::schema::{self, position, seq_of};
use crate::writer::StoredHead;
use crate::{OpenError, first_page};

/// How many problems are kept; the rest is counted.
const KEPT_PROBLEMS: usize = 100;

/// What a walk through a file has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Logs.
    pub logs: u64,
    /// Groups in them.
    pub groups: u64,
    /// Rows of tables.
    pub rows: u64,
    /// Marks of deleted rows.
    pub tombstones: u64,
    /// Entries of the registry.
    pub entries: u64,
    /// The length of the file in pages, and how many of those are free.
    pub pages: u64,
    /// How many of the pages are free.
    pub free_pages: u64,
    /// What is wrong, up to a hundred problems.
    pub problems: Vec<String>,
    /// Problems beyond those.
    pub more_problems: u64,
}

impl Verified {
    /// Whether everything matches.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, what: String) {
        if self.problems.len() < KEPT_PROBLEMS {
            self.problems.push(what);
        } else {
            self.more_problems += 1;
        }
    }
}

/// What is wrong with a row, by its partition, key and value, for a caller that knows the rows' formats.
pub type RowCheck = fn(&[u8], &[u8], &Bytes) -> Result<(), String>;

/// Verifies the store at `path`, whether or not a server has it open. What is damaged is among the problems, and so is what
/// `check` says of rows that match their checksums. Blocks for as long as it takes to read the whole file.
///
/// # Errors
/// When there is no store at `path`, or it cannot be read at all.
pub fn verify(path: &Path, check: RowCheck) -> Result<Verified, OpenError> {
    let lock = lock_unless_served(path)?;
    if lock.is_some()
        && let Err(error) = first_page::check(path)
    {
        return match error {
            // SQLite would drop what follows the damage, and with it all traces.
            OpenError::Damaged { what, .. } => {
                Ok(Verified { problems: vec![format!("{what}; nothing else was checked")], ..Verified::default() })
            }
            error => Err(error),
        };
    }
    let connection = open(path)?;
    walk(&connection, check).map_err(|error| Cause::from(error).at(path))
}

/// Locks a store that no server has open, so that none takes it meanwhile. Creates no store where there is none.
pub(crate) fn lock_unless_served(path: &Path) -> Result<Option<FileLock>, OpenError> {
    path.metadata().map_err(|error| Cause::from(error).at(path))?;
    match FileLock::take(path) {
        Ok(lock) => Ok(Some(lock)),
        Err(OpenError::InUse(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a store to read it, beside whatever process has it open.
pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    let at = |error: rusqlite::Error| Cause::from(error).at(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = schema::open_summed(path, None, flags).map_err(at)?;
    connection.busy_timeout(schema::BUSY_TIMEOUT).map_err(at)?;
    schema::check_whose(&connection, path)?;
    Ok(connection)
}

/// A part of the walk.
type Step<'a> = dyn Fn(&Connection, &mut Verified) -> rusqlite::Result<()> + 'a;

/// Everything, as of one moment.
pub(crate) fn walk(connection: &Connection, check: RowCheck) -> rusqlite::Result<Verified> {
    let mut verified = Verified::default();
    let mut walked = Ok(());
    let check_rows = |connection: &Connection, verified: &mut Verified| check_rows(connection, verified, check);
    let steps: [&Step<'_>; 5] = [&check_structure, &check_logs, &check_rows, &check_entries, &count];
    for step in steps {
        // A page that cannot be read ends the transaction; what comes after it is of a later moment.
        walked =
            walked.and_then(|()| if connection.is_autocommit() { connection.execute_batch("BEGIN") } else { Ok(()) });
        walked = walked.and_then(|()| step(connection, &mut verified));
    }
    if !connection.is_autocommit() {
        // It has only read.
        let _ = connection.execute_batch("ROLLBACK");
    }
    match walked.map_err(|error| (damage(&error), error)) {
        Ok(()) => Ok(verified),
        Err((Some(what), _)) => {
            verified.problem(what);
            Ok(verified)
        }
        Err((None, error)) => Err(error),
    }
}

/// Has SQLite look at every page, and at what each says of others.
fn check_structure(connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    let problems = connection.prepare(&format!("PRAGMA integrity_check({KEPT_PROBLEMS})")).and_then(|mut check| {
        check.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()
    });
    match problems {
        Ok(problems) => problems.into_iter().filter(|problem| problem != "ok").for_each(|what| verified.problem(what)),
        Err(error) => verified.problem(damage(&error).unwrap_or_else(|| error.to_string())),
    }
    Ok(())
}

/// The rows of a query, each by `check`; what stops the query is a problem of `table`, and the end of it.
fn each_row(
    connection: &Connection,
    verified: &mut Verified,
    table: &str,
    sql: &str,
    mut check: impl FnMut(&Row<'_>, &mut Verified) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut read = 0_u64;
    loop {
        let checked = rows.next().and_then(|row| row.map(|row| check(row, verified)).transpose());
        match checked {
            Ok(Some(())) => read += 1,
            Ok(None) => return Ok(()),
            Err(error) => {
                let what = damage(&error).unwrap_or_else(|| error.to_string());
                verified.problem(format!("{table}: {what}; what follows the first {read} was not checked"));
                return Ok(());
            }
        }
    }
}

fn check_logs(connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    let mut heads = Vec::new();
    each_row(connection, verified, "heads of logs", StoredHead::SELECT, |row, verified| {
        let head = StoredHead::read(row)?;
        verified.logs += 1;
        if !head.is_intact() {
            verified.problem(format!("the head of log {} does not match its checksum", head.log.0));
        }
        heads.push(head);
        Ok(())
    })?;
    for head in &heads {
        let mut expected = head.trimmed_below;
        let (from, to) = (position(head.number, 0), position(head.number, u64::MAX));
        let sql = format!(
            "SELECT position, id, epoch, bytes, sum FROM log_group WHERE position BETWEEN {from} AND {to} ORDER BY position"
        );
        each_row(connection, verified, &format!("log {}", head.log.0), &sql, |row, verified| {
            let seq = Seq(seq_of(row.get(0)?));
            verified.groups += 1;
            if seq != expected {
                let (at, due) = (seq.0, expected.0);
                verified.problem(format!("log {}: a hole, position {at} where {due} is due", head.log.0));
            }
            expected = seq.next();
            check_group(&head.log, seq, row, verified)
        })?;
    }
    Ok(())
}

fn check_group(log: &LogId, seq: Seq, row: &Row<'_>, verified: &mut Verified) -> rusqlite::Result<()> {
    let (id, epoch) = (GroupId(u128::from_be_bytes(row.get(1)?)), Epoch(row.get(2)?));
    let sum = checksum::of_group(log, seq, id, epoch, row.get_ref(3)?.as_blob()?);
    note(verified, sum, row.get(4)?, || group_name(log, seq));
    Ok(())
}

fn check_rows(connection: &Connection, verified: &mut Verified, check: RowCheck) -> rusqlite::Result<()> {
    let sql = "SELECT partition, key, version, value, sum FROM row";
    each_row(connection, verified, "rows", sql, |row, verified| {
        verified.rows += 1;
        let (partition, key) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        let value = row.get_ref(3)?.as_blob()?;
        let sum = checksum::of_row(partition, key, row.get(2)?, value);
        if sum != row.get::<_, i64>(4)?.cast_unsigned() {
            verified.problem(format!("{}: its checksum does not match", row_name(partition, key)));
        } else if let Err(what) = check(partition, key, &Bytes::copy_from_slice(value)) {
            verified.problem(what);
        }
        Ok(())
    })
}

fn check_entries(connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    let sql = "SELECT key, version, value, sum FROM registry";
    each_row(connection, verified, "registry entries", sql, |row, verified| {
        verified.entries += 1;
        let key: String = row.get(0)?;
        let sum = checksum::of_entry(&key, row.get(1)?, row.get_ref(2)?.as_blob()?);
        note(verified, sum, row.get(3)?, || entry_name(&key));
        Ok(())
    })
}

fn note(verified: &mut Verified, sum: u64, stored: i64, what: impl FnOnce() -> String) {
    if sum != stored.cast_unsigned() {
        verified.problem(format!("{}: its checksum does not match", what()));
    }
}

fn count(connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    verified.tombstones = connection.query_row("SELECT count(*) FROM tombstone", [], |row| row.get(0))?;
    verified.pages = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    verified.free_pages = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    Ok(())
}
