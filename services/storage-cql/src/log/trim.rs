//! Trimming and the watermark: conditional writes to the head. Segments that have nothing above the trim point are
//! deleted as whole partitions, once the trim point is durable.

use ids::Timestamp;
use storage::{Append, Epoch, LogId, Seq};

use super::place::Place;
use super::{CqlLog, stored};
use crate::answer::Answer;
use crate::failure::Failure;
use crate::stats::Kind;

impl CqlLog {
    pub(super) async fn trim_log(&self, log: &LogId, epoch: Epoch, below: Seq) -> Append {
        let place = match self.place(log, epoch).await {
            Ok(place) => place,
            Err(outcome) => return outcome,
        };
        let turn = place.head_turn.lock().await;
        let below = below.min(place.last().next());
        let values = (stored(below.0), self.names.log(log), stored(epoch.0), stored(below.0));
        let answered = self.requests.conditional(&self.statements.trim_head, values).await;
        let outcome = self.forward_outcome(log, epoch, "trimmed_below", stored(below.0), answered);
        // An append that must go on in a new segment need not wait for deletions.
        drop(turn);
        if outcome == Append::Appended {
            self.delete_passed(log, &place, below).await;
        }
        outcome
    }

    pub(super) async fn move_watermark(&self, log: &LogId, epoch: Epoch, at: Timestamp) -> Append {
        let place = match self.place(log, epoch).await {
            Ok(place) => place,
            Err(outcome) => return outcome,
        };
        let _turn = place.head_turn.lock().await;
        let values = (at.nanos(), self.names.log(log), stored(epoch.0), at.nanos());
        let answered = self.requests.conditional(&self.statements.move_watermark, values).await;
        self.forward_outcome(log, epoch, "watermark", at.nanos(), answered)
    }

    /// What came of moving a column of the head forward to `wanted`: if it is there or beyond, under our own epoch,
    /// nothing is left to do.
    fn forward_outcome(
        &self,
        log: &LogId,
        epoch: Epoch,
        column: &str,
        wanted: i64,
        answered: Result<Answer, Failure>,
    ) -> Append {
        match answered {
            Ok(answer) => match answer.owner_outcome(epoch) {
                Append::Unknown if answer.epoch() == Some(epoch) && answer.bigint(column) >= Some(wanted) => {
                    Append::Appended
                }
                Append::Fenced => {
                    self.forget(log, epoch);
                    Append::Fenced
                }
                outcome => outcome,
            },
            Err(failure) => {
                tracing::warn!(log = %log.0, column, %failure, "moving the head has an unknown outcome");
                Append::Unknown
            }
        }
    }

    /// Deletes what lies below a trim point that is durable: no process, whatever its epoch, reads there any more. Oldest
    /// first, since a segment that is left behind is found through the next one. What cannot be deleted now is
    /// tried again with the next trim, or by the next opener's.
    async fn delete_passed(&self, log: &LogId, place: &Place, below: Seq) {
        let name = self.names.log(log);
        for segment in place.passed(below) {
            let values = (&name, segment);
            // The segment last: while it exists, what lies beside it is found.
            for statement in [&self.statements.delete_chunks, &self.statements.delete_segment] {
                if let Err(failure) = self.requests.write(Kind::PartitionDelete, statement, values).await {
                    tracing::warn!(log = %log.0, %segment, %failure, "a trimmed segment is not deleted yet");
                    return;
                }
            }
            place.deleted(segment);
        }
    }
}
