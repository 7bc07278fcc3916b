//! The registry's one change.

use rusqlite::params;
use storage::{CompareAndSet, checksum};

use super::session::Session;

pub(super) fn compare_and_set(
    session: &mut Session<'_>,
    key: &str,
    expected: u64,
    value: Option<&[u8]>,
) -> rusqlite::Result<CompareAndSet> {
    let version: Option<u64> = session.first("SELECT version FROM registry WHERE key = ?1", [key], |row| row.get(0))?;
    if version.unwrap_or(0) != expected {
        return Ok(CompareAndSet::Conflict);
    }
    match value {
        Some(value) => {
            let sql = "INSERT OR REPLACE INTO registry (key, version, value, sum) VALUES (?1, ?2, ?3, ?4)";
            let sum = checksum::of_entry(key, expected + 1, value).cast_signed();
            session.execute(sql, params![key, expected + 1, value, sum], key.len() + value.len())?;
        }
        None => {
            session.execute("DELETE FROM registry WHERE key = ?1", [key], 0)?;
        }
    }
    Ok(CompareAndSet::Applied)
}
