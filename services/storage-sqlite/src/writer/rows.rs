//! Rows of tables: for each, the highest version wins.

use rusqlite::params;
use storage::{PartitionKey, PartitionWrite, checksum};

use super::session::Session;

/// A put loses against a higher version, be it a row or a tombstone. A tombstone of a lower one may stay behind it: it
/// has no say any more, and the sweep finds it.
const PUT: &str = "
INSERT INTO row (partition, key, version, value, sum)
SELECT ?1, ?2, ?3, ?4, ?5
WHERE NOT EXISTS (SELECT 1 FROM tombstone WHERE partition = ?1 AND key = ?2 AND version > ?3)
ON CONFLICT (partition, key) DO UPDATE SET version = excluded.version, value = excluded.value, sum = excluded.sum
WHERE excluded.version >= row.version";

const DELETE: &str = "DELETE FROM row WHERE partition = ?1 AND key = ?2 AND version < ?3";

/// Follows `DELETE`: a row that is still there has the same version or a higher one, and needs no tombstone beside it.
const INSERT_TOMBSTONE: &str = "
INSERT INTO tombstone (partition, key, version, written)
SELECT ?1, ?2, ?3, ?4
WHERE NOT EXISTS (SELECT 1 FROM row WHERE partition = ?1 AND key = ?2)
ON CONFLICT (partition, key) DO UPDATE SET version = excluded.version, written = excluded.written
WHERE excluded.version > tombstone.version";

/// How many rows of a dropped partition go at a time.
const DROP_ROWS: usize = 1000;

const DROP: [&str; 2] = [
    "DELETE FROM row WHERE partition = ?1 AND key IN (SELECT key FROM row WHERE partition = ?1 LIMIT ?2)",
    "DELETE FROM tombstone WHERE partition = ?1 AND key IN (SELECT key FROM tombstone WHERE partition = ?1 LIMIT ?2)",
];

/// How far dropping a partition has come.
pub(super) enum DropProgress {
    Gone,
    SomeLeft,
}

/// Applies one partition's write.
pub(super) fn write(session: &mut Session<'_>, write: &PartitionWrite) -> rusqlite::Result<()> {
    let partition = &write.partition[..];
    for (key, value) in &write.puts {
        let sum = checksum::of_row(partition, key, write.version, value).cast_signed();
        let row = params![partition, &key[..], write.version, &value[..], sum];
        session.execute(PUT, row, key.len() + value.len())?;
    }
    for key in &write.deletes {
        session.execute(DELETE, params![partition, &key[..], write.version], 0)?;
        let written = session.now()?;
        session.execute(INSERT_TOMBSTONE, params![partition, &key[..], write.version, written], key.len())?;
    }
    session.tally.table_rows_written += write.puts.len() as u64;
    session.tally.table_rows_deleted += write.deletes.len() as u64;
    Ok(())
}

/// Removes some rows and tombstones of a partition: all at once could hold everyone else up for seconds.
pub(super) fn drop_some(session: &mut Session<'_>, partition: &PartitionKey) -> rusqlite::Result<DropProgress> {
    for sql in DROP {
        let dropped = session.execute(sql, params![&partition[..], DROP_ROWS], 0)?;
        session.tally.table_rows_deleted += dropped as u64;
        if dropped == DROP_ROWS {
            return Ok(DropProgress::SomeLeft);
        }
    }
    Ok(DropProgress::Gone)
}
