//! The row that says which process owns a log.

use ids::Timestamp;
use scylla::DeserializeRow;
use storage::{Epoch, LogId, OwnerNonce, Seq, StorageResult};
use uuid::Uuid;

use super::{CqlLog, missing, number, stored, uuid};
use crate::answer::Answer;
use crate::failure::Failure;
use crate::stats::Kind;

/// What `reopened_from` is after an open: no epoch.
pub(super) const NOT_REOPENED: i64 = -1;

/// A log's head as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) datacenter: String,
    pub(super) epoch: Epoch,
    pub(super) owner: OwnerNonce,
    /// The epoch from which a reopen raised to the present one.
    pub(super) reopened_from: Option<Epoch>,
    pub(super) segment: Uuid,
    pub(super) trimmed_below: Seq,
    pub(super) watermark: Timestamp,
}

#[derive(DeserializeRow)]
struct HeadRow {
    datacenter: Option<String>,
    epoch: Option<i64>,
    owner: Option<Uuid>,
    reopened_from: Option<i64>,
    segment: Option<Uuid>,
    trimmed_below: Option<i64>,
    watermark: Option<i64>,
}

impl HeadRow {
    fn head(self, log: &LogId) -> StorageResult<Head> {
        let epoch = self.epoch.ok_or_else(|| missing(log, "epoch"))?;
        let trimmed_below = self.trimmed_below.ok_or_else(|| missing(log, "trimmed_below"))?;
        let reopened_from = self.reopened_from.ok_or_else(|| missing(log, "reopened_from"))?;
        Ok(Head {
            datacenter: self.datacenter.ok_or_else(|| missing(log, "datacenter"))?,
            epoch: Epoch(number(log, "epoch", epoch)?),
            owner: OwnerNonce(self.owner.ok_or_else(|| missing(log, "owner"))?.as_u128()),
            reopened_from: u64::try_from(reopened_from).ok().map(Epoch),
            segment: self.segment.ok_or_else(|| missing(log, "segment"))?,
            trimmed_below: Seq(number(log, "trimmed_below", trimmed_below)?),
            watermark: Timestamp::from_nanos(self.watermark.ok_or_else(|| missing(log, "watermark"))?),
        })
    }
}

impl Head {
    /// Of a log that has never been opened.
    pub(super) fn first(datacenter: &str, owner: OwnerNonce, segment: Uuid) -> Self {
        Self {
            datacenter: datacenter.to_owned(),
            epoch: Epoch(1),
            owner,
            reopened_from: None,
            segment,
            trimmed_below: Seq(1),
            watermark: Timestamp::EPOCH,
        }
    }

    /// The same with the next epoch, for `owner`.
    pub(super) fn raised(&self, owner: OwnerNonce, reopened_from: Option<Epoch>) -> Self {
        Self { epoch: Epoch(self.epoch.0 + 1), owner, reopened_from, ..self.clone() }
    }

    fn stored_reopened_from(&self) -> i64 {
        self.reopened_from.map_or(NOT_REOPENED, |epoch| stored(epoch.0))
    }
}

impl CqlLog {
    /// Reads the head, settling whatever conditional write on it was under way.
    pub(super) async fn read_head(&self, log: &LogId) -> StorageResult<Option<Head>> {
        let name = self.names.log(log);
        let rows = self.requests.rows(Kind::SerialRead, &self.statements.read_head, (&name,)).await;
        let row = rows.and_then(|rows| rows.maybe_first_row::<HeadRow>().map_err(Failure::unreadable));
        row.map_err(Failure::of_read)?.map(|row| row.head(log)).transpose()
    }

    /// The head's epoch, by a quorum read: at least that of every opener whose raising the database has acknowledged.
    pub(super) async fn read_epoch(&self, log: &LogId) -> StorageResult<Option<Epoch>> {
        let name = self.names.log(log);
        let rows = self.requests.rows(Kind::Read, &self.statements.read_epoch, (&name,)).await;
        let row = rows.and_then(|rows| rows.maybe_first_row::<(Option<i64>,)>().map_err(Failure::unreadable));
        let Some((epoch,)) = row.map_err(Failure::of_read)? else { return Ok(None) };
        let epoch = epoch.ok_or_else(|| missing(log, "epoch"))?;
        Ok(Some(Epoch(number(log, "epoch", epoch)?)))
    }

    /// Creates the head of a log that has none.
    pub(super) async fn create_head(&self, log: &LogId, head: &Head) -> Result<Answer, Failure> {
        let values = (
            self.names.log(log),
            &head.datacenter,
            stored(head.epoch.0),
            uuid(head.owner.0),
            head.stored_reopened_from(),
            head.segment,
            stored(head.trimmed_below.0),
            head.watermark.nanos(),
        );
        self.requests.conditional(&self.statements.create_head, values).await
    }

    /// Replaces a head that is in every field still as it was read.
    pub(super) async fn raise_head(&self, log: &LogId, read: &Head, raised: &Head) -> Result<Answer, Failure> {
        let values = (
            stored(raised.epoch.0),
            uuid(raised.owner.0),
            raised.stored_reopened_from(),
            self.names.log(log),
            &read.datacenter,
            stored(read.epoch.0),
            uuid(read.owner.0),
            read.stored_reopened_from(),
            read.segment,
            stored(read.trimmed_below.0),
            read.watermark.nanos(),
        );
        self.requests.conditional(&self.statements.raise_head, values).await
    }

    /// Names another segment, as the owner of `epoch`.
    pub(super) async fn move_head(&self, log: &LogId, epoch: Epoch, from: Uuid, to: Uuid) -> Result<Answer, Failure> {
        let values = (to, self.names.log(log), stored(epoch.0), from);
        self.requests.conditional(&self.statements.move_head, values).await
    }
}
