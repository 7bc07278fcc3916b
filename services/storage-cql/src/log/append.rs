//! Appending: one conditional batch in the partition of the segment that the head names.

use std::sync::Arc;

use bytes::Bytes;
use storage::{Append, Epoch, GroupId, LogId, Seq};
use uuid::Uuid;

use super::chunks::Reference;
use super::place::{Place, Segment};
use super::{CqlLog, stored, uuid};
use crate::failure::Failure;

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
        // Only opening the log again tells where to go on.
        let Some(segment) = place.segment() else { return Append::Unknown };
        let reference = if bytes.len() > self.limits.inline_bytes {
            match self.write_chunks(log, segment, &bytes).await {
                Ok(reference) => Some(reference),
                // The group itself was never sent, but there is no outcome that would say so.
                Err(failure) => return unanswered(log, seq, &failure),
            }
        } else {
            None
        };
        let name = self.names.log(log);
        let Some(before) = seq.0.checked_sub(1) else {
            // Position 0 is never free. Ask with a condition that cannot hold, since a deposed owner must hear of it.
            return self.append_batch(&name, place.epoch, segment, i64::MAX, seq, id, None, None).await;
        };
        let content = reference.is_none().then_some(&bytes);
        let outcome = self.append_batch(&name, place.epoch, segment, stored(before), seq, id, content, reference).await;
        if outcome == Append::Unknown {
            tracing::debug!(log = %log.0, seq = seq.0, epoch = place.epoch.0, "an append has an unknown outcome");
        }
        outcome
    }

    #[allow(clippy::too_many_arguments, reason = "the columns of the row, used once")]
    async fn append_batch(
        &self,
        name: &str,
        epoch: Epoch,
        segment: Uuid,
        before: i64,
        seq: Seq,
        id: GroupId,
        content: Option<&Bytes>,
        beside: Option<Reference>,
    ) -> Append {
        let (epoch_stored, seq_stored) = (stored(epoch.0), stored(seq.0));
        let position = (seq_stored, name, segment, epoch_stored, before);
        let group = (
            name,
            segment,
            seq_stored,
            epoch_stored,
            uuid(id.0),
            content,
            beside.map(|beside| beside.beside),
            beside.map(|beside| beside.chunks),
            beside.map(|beside| beside.length),
            beside.map(|beside| beside.checksum),
        );
        match self.requests.conditional_batch(&self.statements.append, (position, group)).await {
            Ok(answer) => answer.owner_outcome(epoch),
            Err(failure) => {
                tracing::warn!(log = %name, seq = seq.0, epoch = epoch.0, %failure, "an append was not answered");
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
            tracing::warn!(log = %log.0, %error, "cannot look where a log is written");
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

fn unanswered(log: &LogId, seq: Seq, failure: &Failure) -> Append {
    tracing::warn!(log = %log.0, seq = seq.0, %failure, "the chunks of a group were not all written");
    Append::Unknown
}
