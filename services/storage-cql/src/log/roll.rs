//! Going on in a new segment: first it is created, under our epoch and with its first position, then the head names it,
//! then it is appended to. In any other order a head could name what does not exist, or groups lie where no reader looks.
//!
//! Each attempt takes a new random name. So a creation that was not answered, and lands long after its segment would have
//! been trimmed and deleted, brings back nothing that has ever been written to.

use storage::{Append, LogId, Seq};
use uuid::Uuid;

use super::CqlLog;
use super::place::{Place, Segment};
use crate::answer::Verdict;

impl CqlLog {
    /// `Appended` once the head names a new segment that begins at `first`.
    pub(super) async fn roll(&self, log: &LogId, place: &Place, first: Seq) -> Append {
        let _turn = place.head_turn.lock().await;
        let Some(from) = place.segment() else { return Append::Unknown };
        let to = self.new_name();
        match self.create_segment(log, to, place.epoch, first, Some(from)).await {
            Ok(answer) if answer.verdict() == Verdict::Applied => {}
            // The segment is not used, whether it is there or not.
            Ok(_) => return Append::Unknown,
            Err(failure) => {
                tracing::warn!(log = %log.0, %failure, "creating a segment has an unknown outcome");
                return Append::Unknown;
            }
        }
        let outcome = match self.move_head(log, place.epoch, from, to).await {
            Ok(answer) => answer.owner_outcome(place.epoch),
            Err(failure) => {
                tracing::warn!(log = %log.0, %failure, "moving to a new segment has an unknown outcome");
                Append::Unknown
            }
        };
        match outcome {
            Append::Appended => place.rolled(Segment { name: to, first }),
            Append::Fenced => {}
            Append::Unknown => place.lose(),
        }
        outcome
    }

    /// Never given before.
    pub(super) fn new_name(&self) -> Uuid {
        Uuid::from_u128(self.requests.runtime().seed())
    }
}
