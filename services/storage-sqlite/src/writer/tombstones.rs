//! Forgets old tombstones, a few at a time.

use std::time::Duration;

use rusqlite::params;

use super::session::Session;

/// A stretch of tombstones is scanned whenever so many rows have been deleted…
const DELETES_PER_SWEEP: u64 = 512;
/// …and is so long. Since it is longer, the sweep comes round faster than tombstones accumulate.
const SWEEP_LENGTH: u64 = 2048;

const END_OF_STRETCH: &str = "
SELECT partition, key FROM tombstone WHERE (partition, key) > (?1, ?2) ORDER BY partition, key LIMIT 1 OFFSET ?3";

const SWEEP_STRETCH: &str = "
DELETE FROM tombstone WHERE (partition, key) > (?1, ?2) AND (partition, key) <= (?3, ?4) AND written < ?5";

const SWEEP_REST: &str = "DELETE FROM tombstone WHERE (partition, key) > (?1, ?2) AND written < ?3";

/// Goes round all tombstones in the order of their keys, at a pace set by new deletes.
pub(crate) struct Sweeper {
    age_seconds: i64,
    deletes: u64,
    is_stopped: bool,
    /// The partition and key up to which the present round has come.
    swept_to: (Vec<u8>, Vec<u8>),
}

impl Sweeper {
    /// Forgets tombstones that are older than `age`.
    pub(crate) fn new(age: Duration) -> Self {
        let age_seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        Self { age_seconds, deletes: 0, is_stopped: false, swept_to: Default::default() }
    }

    /// Sweeps no more: the file is damaged, and tombstones that stay do no harm.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Sweeps one stretch if enough has been deleted since the last.
    pub(super) fn sweep_if_due(&mut self, session: &mut Session<'_>) -> rusqlite::Result<()> {
        let before = self.deletes / DELETES_PER_SWEEP;
        self.deletes += session.tally.table_rows_deleted;
        if self.is_stopped || self.deletes / DELETES_PER_SWEEP == before {
            return Ok(());
        }
        let written_before = session.now()?.saturating_sub(self.age_seconds);
        let (partition, key) = &self.swept_to;
        let end: Option<(Vec<u8>, Vec<u8>)> =
            session.first(END_OF_STRETCH, params![partition, key, SWEEP_LENGTH - 1], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        match &end {
            Some((to_partition, to_key)) => {
                let stretch = params![partition, key, to_partition, to_key, written_before];
                session.execute(SWEEP_STRETCH, stretch, 0)?;
            }
            None => {
                session.execute(SWEEP_REST, params![partition, key, written_before], 0)?;
            }
        }
        self.swept_to = end.unwrap_or_default();
        Ok(())
    }
}
