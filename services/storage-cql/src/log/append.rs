//! Appending: one conditional batch in the partition of the segment that the head names.

use std::sync::Arc;

use bytes::Bytes;
use storage::{Append, Epoch, GroupId, LogId, Seq, checksum};

use super::place::{Place, Segment};
use super::{CqlLog, stored, uuid};
use crate::sealed::Sealed;

impl CqlLog {
    pub(super) async fn append_group(&self, log: &LogId, epoch: Epoch, seq: Seq, id: GroupId, bytes: Bytes) -> Append {
        let place = match self.place(log, epoch).await {
            Ok(place) => place,
            Err(outcome) => return outcome,
        };
        if place.is_full(seq, &self.limits) {
            match self.roll(log, &place, seq).await {
                Append::Appended => {}
                Append::Fenced => {
                    self.forget(log, epoch);
                    return Append::Fenced;
                }
                Append::Unknown => {
                    place.doubt();
                    return Append::Unknown;
                }
            }
        }
        let length = bytes.len();
        let outcome = self.append_to(log, &place, seq, id, bytes).await;
        match outcome {
            Append::Appended => {
                place.appended(seq, length);
                self.requests.counters.appended(length);
            }
            Append::Fenced => self.forget(log, epoch),
            Append::Unknown => place.doubt(),
        }
        outcome
    }

    async fn append_to(&self, log: &LogId, place: &Place, seq: Seq, id: GroupId, bytes: Bytes) -> Append {
        // Only opening the log again shows where to go on.
        let Some(segment) = place.segment() else { return Append::Unknown };
        let name = self.names.log(log);
        let (epoch, at) = (stored(place.epoch.0), stored(seq.0));
        // Before position 0 there is none, which no segment has as its last: a deposed owner still gets an error.
        let position = (at, &name, segment, epoch, at - 1);
        let sum = checksum::of_group(log, seq, id, place.epoch, &bytes);
        let answered = if bytes.len() > self.limits.inline_bytes {
            let beside = match self.write_chunks(log, segment, &bytes, sum).await {
                Ok(beside) => beside,
                Err(failure) => {
                    // The group itself was never sent, but there is no outcome that would say so.
                    tracing::warn!(log = %log.0, seq = seq.0, %failure, "writing the chunks of a group failed");
                    return Append::Unknown;
                }
            };
            let content = (beside.beside, beside.chunks, beside.length, beside.checksum);
            let group = (&name, segment, at, epoch, uuid(id.0), content.0, content.1, content.2, content.3);
            self.requests.conditional_batch(&self.statements.append_beside, (position, group)).await
        } else {
            let group = (&name, segment, at, epoch, uuid(id.0), Sealed { value: &bytes, sum });
            self.requests.conditional_batch(&self.statements.append_inline, (position, group)).await
        };
        match answered {
            Ok(answer) => answer.owner_outcome(place.epoch),
            Err(failure) => {
                tracing::warn!(log = %log.0, seq = seq.0, epoch, %failure, "an append has an unknown outcome");
                Append::Unknown
            }
        }
    }

    /// Where the owner of `epoch` writes. If this process has not opened the log under it, the database says.
    pub(super) async fn place(&self, log: &LogId, epoch: Epoch) -> Result<Arc<Place>, Append> {
        if let Some(known) = self.places().get(log) {
            if known.epoch == epoch {
                return Ok(Arc::clone(known));
            }
            if known.epoch > epoch {
                return Err(Append::Fenced);
            }
        }
        let unreadable = |error: storage::StorageError| {
            tracing::warn!(log = %log.0, %error, "cannot look up the head of a log");
            Append::Unknown
        };
        let Some(head) = self.read_head(log).await.map_err(unreadable)? else { return Err(Append::Unknown) };
        if head.epoch != epoch {
            return Err(if head.epoch > epoch { Append::Fenced } else { Append::Unknown });
        }
        let segment = self.read_segment_serially(log, head.segment).await.map_err(unreadable)?;
        let Some(segment) = segment else { return Err(Append::Unknown) };
        if segment.epoch != epoch {
            return Err(if segment.epoch > epoch { Append::Fenced } else { Append::Unknown });
        }
        let at = Segment { name: head.segment, first: segment.first };
        let place = Arc::new(Place::found(epoch, at, segment.last));
        self.remember(log, Arc::clone(&place));
        Ok(place)
    }
}
