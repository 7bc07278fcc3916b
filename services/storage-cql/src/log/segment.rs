//! A segment's static row, and its groups.

use bytes::Bytes;
use scylla::DeserializeRow;
use scylla::response::PagingState;
use scylla::statement::prepared::PreparedStatement;
use storage::{Epoch, Group, GroupId, LogId, Seq, StorageError, StorageResult, checksum};
use uuid::Uuid;

use super::chunks::Reference;
use super::{CqlLog, missing, number, stored};
use crate::answer::Answer;
use crate::failure::Failure;
use crate::sealed;
use crate::stats::Kind;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentState {
    pub(super) epoch: Epoch,
    pub(super) last: Seq,
    pub(super) first: Seq,
    /// The segment before; `None` for a log's first.
    pub(super) previous: Option<Uuid>,
}

#[derive(DeserializeRow)]
struct SegmentRow {
    epoch: Option<i64>,
    last_seq: Option<i64>,
    first_seq: Option<i64>,
    previous: Option<Uuid>,
}

#[derive(DeserializeRow)]
struct GroupRow {
    seq: i64,
    written_epoch: Option<i64>,
    id: Option<Uuid>,
    content: Option<Bytes>,
    beside: Option<Uuid>,
    chunks: Option<i32>,
    length: Option<i64>,
    checksum: Option<i64>,
}

/// A group's place in the log, with its content or where that is.
pub(super) struct StoredGroup {
    pub(super) seq: Seq,
    pub(super) id: GroupId,
    pub(super) epoch: Epoch,
    pub(super) content: Content,
}

pub(super) enum Content {
    Inline(Bytes),
    Beside(Reference),
}

impl CqlLog {
    /// Creates a segment. Its name must be new: an earlier sender of this statement, with the same name, must not
    /// send it again.
    pub(super) async fn create_segment(
        &self,
        log: &LogId,
        segment: Uuid,
        epoch: Epoch,
        first: Seq,
        previous: Option<Uuid>,
    ) -> Result<Answer, Failure> {
        let values = (stored(epoch.0), stored(first.0) - 1, stored(first.0), previous, self.names.log(log), segment);
        self.requests.conditional(&self.statements.create_segment, values).await
    }

    /// Fences every earlier owner out of a segment.
    pub(super) async fn raise_segment(&self, log: &LogId, segment: Uuid, epoch: Epoch) -> Result<Answer, Failure> {
        let values = (stored(epoch.0), self.names.log(log), segment, stored(epoch.0));
        self.requests.conditional(&self.statements.raise_segment, values).await
    }

    /// Reads a segment's static row after a conditional write to it, or of a segment that is no longer written to.
    pub(super) async fn read_segment(&self, log: &LogId, segment: Uuid) -> StorageResult<Option<SegmentState>> {
        self.segment_state(Kind::Read, &self.statements.read_segment, log, segment).await
    }

    /// Reads a segment's static row, settling whatever conditional write on it was under way.
    pub(super) async fn read_segment_serially(
        &self,
        log: &LogId,
        segment: Uuid,
    ) -> StorageResult<Option<SegmentState>> {
        self.segment_state(Kind::SerialRead, &self.statements.read_segment_serially, log, segment).await
    }

    async fn segment_state(
        &self,
        kind: Kind,
        statement: &PreparedStatement,
        log: &LogId,
        segment: Uuid,
    ) -> StorageResult<Option<SegmentState>> {
        let rows = self.requests.rows(kind, statement, (self.names.log(log), segment)).await;
        let row = rows.and_then(|rows| rows.maybe_first_row::<SegmentRow>().map_err(Failure::unreadable));
        let Some(row) = row.map_err(Failure::of_read)? else { return Ok(None) };
        // If the clocks of the database's nodes differ, a deletion may leave the values that were written last. What is not
        // whole is no segment: were it one that is still needed, the gap in the tail would show it.
        let (Some(epoch), Some(last), Some(first)) = (row.epoch, row.last_seq, row.first_seq) else { return Ok(None) };
        Ok(Some(SegmentState {
            epoch: Epoch(number(log, "epoch", epoch)?),
            last: Seq(number(log, "last_seq", last)?),
            first: Seq(number(log, "first_seq", first)?),
            previous: row.previous,
        }))
    }

    /// The groups of a segment from `from` to `to`, in order, without what lies beside the log.
    pub(super) async fn read_groups(
        &self,
        log: &LogId,
        segment: Uuid,
        from: Seq,
        to: Seq,
    ) -> StorageResult<Vec<StoredGroup>> {
        let name = self.names.log(log);
        let values = (&name, segment, stored(from.0), stored(to.0));
        let mut groups = Vec::new();
        let mut page = Some(PagingState::start());
        while let Some(from) = page {
            let (rows, next) =
                self.requests.page(&self.statements.read_groups, values, from).await.map_err(Failure::of_read)?;
            let unreadable = |error: &dyn std::fmt::Display| StorageError::Corrupt(format!("log {}: {error}", log.0));
            for row in rows.rows::<GroupRow>().map_err(|error| unreadable(&error))? {
                groups.push(row.map_err(|error| unreadable(&error))?.group(log)?);
            }
            page = next;
        }
        Ok(groups)
    }
}

impl GroupRow {
    fn group(self, log: &LogId) -> StorageResult<StoredGroup> {
        let id = GroupId(self.id.ok_or_else(|| missing(log, "id"))?.as_u128());
        let epoch = self.written_epoch.ok_or_else(|| missing(log, "written_epoch"))?;
        let content = match (self.content, self.beside, self.chunks, self.length, self.checksum) {
            (Some(content), None, None, None, None) => Content::Inline(content),
            (None, Some(beside), Some(chunks), Some(length), Some(checksum)) => {
                Content::Beside(Reference { beside, chunks, length, checksum })
            }
            _ => {
                let what = format!("log {}: group {} has neither content nor chunks", log.0, self.seq);
                return Err(StorageError::Corrupt(what));
            }
        };
        Ok(StoredGroup {
            seq: Seq(number(log, "seq", self.seq)?),
            id,
            epoch: Epoch(number(log, "written_epoch", epoch)?),
            content,
        })
    }
}

impl StoredGroup {
    /// The group, if what it has inline is what was appended.
    pub(super) fn inline(&self, log: &LogId, stored: &[u8]) -> StorageResult<Group> {
        let bytes = sealed::opened(stored, |bytes| self.checksum(log, bytes), || self.name(log))?;
        Ok(self.with(bytes))
    }

    /// The group, if what lies beside the log is what was appended.
    pub(super) fn beside(&self, log: &LogId, reference: Reference, bytes: Bytes) -> StorageResult<Group> {
        if self.checksum(log, &bytes).cast_signed() == reference.checksum {
            return Ok(self.with(bytes));
        }
        Err(StorageError::Corrupt(format!("{}: the checksum of its chunks does not match", self.name(log))))
    }

    fn checksum(&self, log: &LogId, bytes: &[u8]) -> u64 {
        checksum::of_group(log, self.seq, self.id, self.epoch, bytes)
    }

    fn name(&self, log: &LogId) -> String {
        format!("log {}, position {}", log.0, self.seq.0)
    }

    fn with(&self, bytes: Bytes) -> Group {
        Group { seq: self.seq, id: self.id, epoch: self.epoch, bytes }
    }
}
