//! Logs: their heads in memory, their heads and groups in the file.
//!
//! This process is the file's only writer, so what it has read at the start and written since *is* the state: an append
//! checks the epoch and the position in memory and costs a single insertion.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use ids::Timestamp;
use rusqlite::{Connection, Row, params};
use storage::checksum::{self, HeadFields};
use storage::{Append, Epoch, GroupId, Head, LogId, OwnerNonce, Seq};

use super::session::Session;
use crate::command::{OpenedHead, ReopenedHead};
use crate::error::Cause;
use crate::schema::{position, seq_of};

/// The durable epochs of all logs, to check a fence.
#[derive(Default)]
pub(crate) struct Epochs(RwLock<HashMap<LogId, Epoch>>);

impl Epochs {
    /// A log's epoch; 0 for one that was never opened.
    pub(crate) fn of(&self, log: &LogId) -> Epoch {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(log).copied().unwrap_or_default()
    }

    fn raise(&self, raised: impl IntoIterator<Item = (LogId, Epoch)>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(raised);
    }
}

pub(super) struct Logs {
    logs: HashMap<LogId, OneLog>,
    /// Epochs that the present transaction has raised.
    raised: Vec<(LogId, Epoch)>,
}

struct OneLog {
    number: i64,
    owner: OwnerNonce,
    /// The epoch from which `reopen` raised to the present one: what makes a repeated `reopen` recognisable.
    reopened_from: Option<Epoch>,
    head: Head,
}

/// A head as the file has it.
pub(crate) struct StoredHead {
    pub(crate) log: LogId,
    pub(crate) number: i64,
    pub(crate) trimmed_below: Seq,
    epoch: Epoch,
    owner: OwnerNonce,
    reopened_from: Option<Epoch>,
    watermark: Timestamp,
    sum: i64,
}

impl StoredHead {
    /// What [`StoredHead::read`] reads.
    pub(crate) const SELECT: &str =
        "SELECT number, name, epoch, owner, reopened_from, trimmed_below, watermark, sum FROM log_head";

    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            log: LogId(row.get(1)?),
            epoch: Epoch(row.get(2)?),
            owner: OwnerNonce(u128::from_be_bytes(row.get(3)?)),
            reopened_from: row.get::<_, Option<u64>>(4)?.map(Epoch),
            trimmed_below: Seq(row.get(5)?),
            watermark: Timestamp::from_nanos(row.get(6)?),
            sum: row.get(7)?,
        })
    }

    pub(crate) fn is_intact(&self) -> bool {
        let Self { log, number, trimmed_below, epoch, owner, reopened_from, watermark, sum } = self;
        let (number, epoch, owner, reopened_from) = (number.cast_unsigned(), *epoch, *owner, *reopened_from);
        let (trimmed_below, watermark) = (*trimmed_below, *watermark);
        let fields = HeadFields { log, number, epoch, owner, reopened_from, trimmed_below, watermark };
        fields.checksum() == sum.cast_unsigned()
    }
}

impl OneLog {
    fn opened(&self) -> OpenedHead {
        OpenedHead { log_number: self.number, head: self.head.clone() }
    }

    fn checksum(&self, log: &LogId) -> u64 {
        let head = HeadFields {
            log,
            number: self.number.cast_unsigned(),
            epoch: self.head.epoch,
            owner: self.owner,
            reopened_from: self.reopened_from,
            trimmed_below: self.head.trimmed_below,
            watermark: self.head.watermark,
        };
        head.checksum()
    }

    fn save(&self, session: &mut Session<'_>, log: &LogId) -> rusqlite::Result<()> {
        let sql = "UPDATE log_head SET epoch = ?2, owner = ?3, reopened_from = ?4, trimmed_below = ?5, watermark = ?6,
                   sum = ?7
                   WHERE number = ?1";
        let row = params![
            self.number,
            self.head.epoch.0,
            self.owner.0.to_be_bytes(),
            self.reopened_from.map(|epoch| epoch.0),
            self.head.trimmed_below.0,
            self.head.watermark.nanos(),
            self.checksum(log).cast_signed(),
        ];
        session.execute(sql, row, 0)?;
        Ok(())
    }
}

impl Logs {
    /// Reads all heads, and publishes their epochs.
    pub(super) fn load(connection: &Connection, epochs: &Epochs) -> Result<Self, Cause> {
        let mut logs = HashMap::new();
        let mut heads = connection.prepare(StoredHead::SELECT)?;
        let mut ends = connection.prepare("SELECT max(position) FROM log_group WHERE position BETWEEN ?1 AND ?2")?;
        let mut rows = heads.query([])?;
        while let Some(row) = rows.next()? {
            let stored = StoredHead::read(row)?;
            if !stored.is_intact() {
                return Err(Cause::Damaged(format!("the head of log {} does not match its checksum", stored.log.0)));
            }
            let range = (position(stored.number, 0), position(stored.number, u64::MAX));
            let end: Option<i64> = ends.query_row(range, |row| row.get(0))?;
            let last = end.map_or(Seq(stored.trimmed_below.0.saturating_sub(1)), |end| Seq(seq_of(end)));
            let StoredHead { log, number, epoch, owner, reopened_from, trimmed_below, watermark, .. } = stored;
            let head = Head { epoch, last, trimmed_below, watermark };
            logs.insert(log, OneLog { number, owner, reopened_from, head });
        }
        epochs.raise(logs.iter().map(|(log, state)| (log.clone(), state.head.epoch)));
        Ok(Self { logs, raised: Vec::new() })
    }

    /// Publishes the epochs that the transaction, now durable, has raised.
    pub(super) fn publish(&mut self, epochs: &Epochs) {
        if !self.raised.is_empty() {
            epochs.raise(self.raised.drain(..));
        }
    }

    pub(super) fn open(
        &mut self,
        session: &mut Session<'_>,
        log: &LogId,
        owner: OwnerNonce,
    ) -> rusqlite::Result<OpenedHead> {
        if !self.logs.contains_key(log) {
            let number = create(session, log, owner)?;
            let head = Head { epoch: Epoch(0), last: Seq(0), trimmed_below: Seq(1), watermark: Timestamp::EPOCH };
            self.logs.insert(log.clone(), OneLog { number, owner, reopened_from: None, head });
        }
        let state = self.logs.get_mut(log).expect("was there or has just been inserted");
        state.head.epoch.0 += 1;
        state.owner = owner;
        state.reopened_from = None;
        state.save(session, log)?;
        self.raised.push((log.clone(), state.head.epoch));
        Ok(state.opened())
    }

    pub(super) fn reopen(
        &mut self,
        session: &mut Session<'_>,
        log: &LogId,
        epoch: Epoch,
        owner: OwnerNonce,
    ) -> rusqlite::Result<ReopenedHead> {
        let Some(state) = self.logs.get_mut(log).filter(|state| state.owner == owner) else {
            return Ok(ReopenedHead::Fenced);
        };
        if state.head.epoch == epoch {
            state.head.epoch.0 += 1;
            state.reopened_from = Some(epoch);
            state.save(session, log)?;
            self.raised.push((log.clone(), state.head.epoch));
        } else if state.reopened_from != Some(epoch) {
            return Ok(ReopenedHead::Fenced);
        }
        Ok(ReopenedHead::Reopened(state.opened()))
    }

    pub(super) fn append(
        &mut self,
        session: &mut Session<'_>,
        log: &LogId,
        epoch: Epoch,
        seq: Seq,
        id: GroupId,
        bytes: &[u8],
    ) -> rusqlite::Result<Append> {
        self.as_owner(log, epoch, |state| {
            if seq != state.head.last.next() {
                // Under our own epoch this can only be an earlier append of ours that landed after all.
                return Ok(Append::Unknown);
            }
            let sql = "INSERT INTO log_group (position, id, epoch, bytes, sum) VALUES (?1, ?2, ?3, ?4, ?5)";
            let sum = checksum::of_group(log, seq, id, epoch, bytes).cast_signed();
            let row = params![position(state.number, seq.0), id.0.to_be_bytes(), epoch.0, bytes, sum];
            session.execute(sql, row, bytes.len())?;
            session.tally.log_appends += 1;
            session.tally.log_append_bytes += bytes.len() as u64;
            state.head.last = seq;
            Ok(Append::Appended)
        })
    }

    pub(super) fn set_watermark(
        &mut self,
        session: &mut Session<'_>,
        log: &LogId,
        epoch: Epoch,
        at: Timestamp,
    ) -> rusqlite::Result<Append> {
        self.as_owner(log, epoch, |state| {
            if at > state.head.watermark {
                state.head.watermark = at;
                state.save(session, log)?;
            }
            Ok(Append::Appended)
        })
    }

    pub(super) fn trim(
        &mut self,
        session: &mut Session<'_>,
        log: &LogId,
        epoch: Epoch,
        below: Seq,
    ) -> rusqlite::Result<Append> {
        self.as_owner(log, epoch, |state| {
            let below = below.min(state.head.last.next());
            if below > state.head.trimmed_below {
                state.head.trimmed_below = below;
                state.save(session, log)?;
                let groups = params![position(state.number, 0), position(state.number, below.0)];
                session.execute("DELETE FROM log_group WHERE position >= ?1 AND position < ?2", groups, 0)?;
            }
            Ok(Append::Appended)
        })
    }

    /// Runs `change` if `epoch` still owns the log. Only a higher epoch is `Fenced`; any other mismatch (a claim to an
    /// epoch that was never given) is left to `reopen` to sort out.
    fn as_owner(
        &mut self,
        log: &LogId,
        epoch: Epoch,
        change: impl FnOnce(&mut OneLog) -> rusqlite::Result<Append>,
    ) -> rusqlite::Result<Append> {
        match self.logs.get_mut(log) {
            Some(state) if state.head.epoch == epoch => change(state),
            Some(state) if state.head.epoch > epoch => Ok(Append::Fenced),
            _ => Ok(Append::Unknown),
        }
    }
}

/// Gives a log its number. What it says beyond that, its opener writes next.
fn create(session: &mut Session<'_>, log: &LogId, owner: OwnerNonce) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO log_head (name, epoch, owner, trimmed_below, watermark, sum) VALUES (?1, 0, ?2, 1, 0, 0)";
    session.execute(sql, params![log.0, owner.0.to_be_bytes()], log.0.len())?;
    let number = session.first("SELECT number FROM log_head WHERE name = ?1", [&log.0], |row| row.get(0))?;
    number.ok_or(rusqlite::Error::QueryReturnedNoRows)
}
