//! The file's format, and how connections to it are set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::Cause;
use crate::{OpenError, SqliteOptions, Synchronous, first_page, page_sums};

/// Rises whenever a release writes what the previous ones cannot read.
pub(crate) const FORMAT: i64 = 2;

/// "Outl", in the place where SQLite files say whose they are.
pub(crate) const APPLICATION: i64 = 0x4F75_746C;

pub(crate) const PAGE_BYTES: u64 = 4096;

/// How long SQLite's locks are waited for. No server shares the file, but a backup or a person with a tool may read it.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many low bits of a group's position are its `Seq`; its log's number stands above them. One table for all logs
/// with one integer as its key keeps an append at one insertion, and a log's groups together and in order.
const SEQ_BITS: u32 = 44;

/// `row` is clustered by its key, so that what belongs to one partition shares pages. Tombstones lie apart, so that
/// scans never wade through them. Sums are those of `storage::checksum`; a tombstone has none, since only its page's sum
/// could be of use to a later release.
const TABLES: &str = "
CREATE TABLE log_head (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    owner BLOB NOT NULL,
    reopened_from INTEGER,
    trimmed_below INTEGER NOT NULL,
    watermark INTEGER NOT NULL,
    sum INTEGER NOT NULL
) STRICT;
CREATE TABLE log_group (
    position INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    sum INTEGER NOT NULL
) STRICT;
CREATE TABLE row (
    partition BLOB NOT NULL,
    key BLOB NOT NULL,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (partition, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE tombstone (
    partition BLOB NOT NULL,
    key BLOB NOT NULL,
    version INTEGER NOT NULL,
    written INTEGER NOT NULL,
    PRIMARY KEY (partition, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE registry (
    key TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The key of a group. Both parts are far from their limits: half a million logs, 17 million million groups in each.
pub(crate) fn position(log_number: i64, seq: u64) -> i64 {
    (log_number << SEQ_BITS) | seq.min((1 << SEQ_BITS) - 1).cast_signed()
}

/// The `Seq` in a group's key.
pub(crate) fn seq_of(position: i64) -> u64 {
    (position & ((1 << SEQ_BITS) - 1)).cast_unsigned()
}

/// Opens the connection that writes: checks whose file it is and of which format, and creates what is missing.
pub(crate) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Connection, OpenError> {
    let sqlite = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotAStore(path.to_owned()),
        _ => Cause::from(source).at(path),
    };
    first_page::check(path)?;
    let connection = connect(path, options, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE);
    let connection = connection.map_err(sqlite)?;
    let found = whose(&connection).map_err(sqlite)?;
    // With the application alone where a process died while it created the file.
    let is_new = matches!(found, (0 | APPLICATION, 0, 0));
    if !is_new && let Err(refused) = check_whose(&connection, path) {
        leave_as_found(&connection).map_err(sqlite)?;
        return Err(refused);
    }
    set_up_writer(&connection, options, is_new).map_err(sqlite)?;
    Ok(connection)
}

/// Has a connection that closes leave the write-ahead log where it is.
fn leave_as_found(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Refuses files of others and of other formats.
pub(crate) fn check_whose(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    match whose(connection).map_err(|error| Cause::from(error).at(path))? {
        (APPLICATION, FORMAT, _) => Ok(()),
        (APPLICATION, found, _) => Err(OpenError::OtherFormat { path: path.to_owned(), found, known: FORMAT }),
        _ => Err(OpenError::NotAStore(path.to_owned())),
    }
}

/// The application, the format and the number of tables of the file. A new file has 0 of each.
fn whose(connection: &Connection) -> rusqlite::Result<(i64, i64, i64)> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok((pragma("application_id")?, pragma("user_version")?, tables))
}

fn set_up_writer(connection: &Connection, options: &SqliteOptions, is_new: bool) -> rusqlite::Result<()> {
    if is_new {
        page_sums::reserve(connection)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES.cast_signed())?;
        // Before anything else, so that the file itself, without a log, says whose it is.
        connection.pragma_update(None, "application_id", APPLICATION)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The checkpointer and the writer choose the moment themselves.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // After a burst the write-ahead log is cut down to this; overwriting a file is cheaper than growing it.
    connection.pragma_update(None, "journal_size_limit", options.checkpoint_after_bytes.cast_signed() * 2)?;
    // KiB, when negative.
    connection.pragma_update(None, "cache_size", -kib(options.cache_bytes / 2))?;
    if is_new {
        let create = format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT;");
        connection.execute_batch(&create)?;
    }
    Ok(())
}

/// Opens a connection that reads.
pub(crate) fn open_reader(path: &Path, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let connection = connect(path, options, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -kib(options.cache_bytes / 2 / options.readers))?;
    Ok(connection)
}

fn kib(bytes: usize) -> i64 {
    i64::try_from(bytes / 1024).unwrap_or(i64::MAX).max(64)
}

/// Opens a connection that checkpoints.
pub(crate) fn open_checkpointer(path: &Path, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let connection = connect(path, options, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// Opens a connection whose pages are held against their sums.
pub(crate) fn open_summed(path: &Path, vfs: Option<&str>, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let name = page_sums::vfs_over(vfs).ok_or_else(|| rusqlite::Error::InvalidPath(vfs.unwrap_or_default().into()))?;
    let connection = Connection::open_with_flags_and_vfs(path, flags, name.as_str())?;
    // A page may match its sum and be wrong all the same, if SQLite or its memory was.
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

fn connect(path: &Path, options: &SqliteOptions, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection stays with one thread, so its own mutex would only cost.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = open_summed(path, options.vfs.as_deref(), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Off => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
