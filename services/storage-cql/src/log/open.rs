//! Opening: raise the head's epoch, raise the epoch of the segment that the head names, read the tail, look whether the
//! log is still ours. Each step is what makes the next one true.

use std::collections::VecDeque;
use std::sync::Arc;

use storage::{Epoch, Group, LogId, Opened, OwnerNonce, Reopen, Seq, StorageError, StorageResult};
use uuid::Uuid;

use super::CqlLog;
use super::head::Head;
use super::place::{Place, Segment};
use super::segment::{Content, SegmentState};
use crate::answer::Verdict;
use crate::failure::{Failure, unavailable};

/// How often the head may change between our reading and our raising it before the caller has to retry. A busy
/// owner changes it a few times a second.
const ATTEMPTS: usize = 10;
/// How many segments a tail may have. Only a loop among them would have more.
const SEGMENTS: usize = 100_000;

/// Why a log whose head we raised could not be taken over.
enum Obstacle {
    /// Another process raised it again.
    Deposed,
    /// A step was not answered.
    Unanswered(Failure),
    /// It cannot be read, now or ever.
    Storage(StorageError),
}

impl From<StorageError> for Obstacle {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl CqlLog {
    pub(super) async fn open_log(&self, log: &LogId, owner: OwnerNonce) -> StorageResult<Opened> {
        for _ in 0..ATTEMPTS {
            let ours = match self.read_head(log).await? {
                None => self.create_log(log, owner).await?,
                Some(head) => {
                    self.check_datacenter(log, &head)?;
                    let raised = head.raised(owner, None);
                    let answer = self.raise_head(log, &head, &raised).await.map_err(Failure::of_write)?;
                    if_applied(answer.verdict(), raised).map_err(|()| unclear(log))?
                }
            };
            let Some(ours) = ours else { continue };
            return self.take_over(log, &ours).await.map_err(|obstacle| match obstacle {
                Obstacle::Deposed => unavailable(format!("log {} was opened again meanwhile", log.0)),
                Obstacle::Unanswered(failure) => failure.of_write(),
                Obstacle::Storage(error) => error,
            });
        }
        Err(unavailable(format!("the head of log {} keeps changing", log.0)))
    }

    pub(super) async fn reopen_log(&self, log: &LogId, epoch: Epoch, owner: OwnerNonce) -> StorageResult<Reopen> {
        for _ in 0..ATTEMPTS {
            let Some(head) = self.read_head(log).await? else { return Ok(Reopen::Fenced) };
            if head.owner != owner {
                return Ok(Reopen::Fenced);
            }
            self.check_datacenter(log, &head)?;
            let ours = if head.epoch == epoch {
                let raised = head.raised(owner, Some(epoch));
                let Ok(answer) = self.raise_head(log, &head, &raised).await else { return Ok(Reopen::Unknown) };
                match if_applied(answer.verdict(), raised) {
                    Ok(Some(ours)) => ours,
                    Ok(None) => continue,
                    Err(()) => return Ok(Reopen::Unknown),
                }
            } else if head.reopened_from == Some(epoch) {
                // A reopen of ours raised it, and its answer was lost.
                head
            } else {
                return Ok(Reopen::Fenced);
            };
            return match self.take_over(log, &ours).await {
                Ok(opened) => Ok(Reopen::Reopened(opened)),
                Err(Obstacle::Deposed) => Ok(Reopen::Fenced),
                Err(Obstacle::Unanswered(_)) => Ok(Reopen::Unknown),
                Err(Obstacle::Storage(error)) => Err(error),
            };
        }
        Ok(Reopen::Unknown)
    }

    /// Creates a log: a first segment, then a head that names it. `None` if another process was quicker.
    async fn create_log(&self, log: &LogId, owner: OwnerNonce) -> StorageResult<Option<Head>> {
        let head = Head::first(&self.datacenter, owner, self.new_name());
        let created = self.create_segment(log, head.segment, head.epoch, Seq(1), None).await;
        match created.map_err(Failure::of_write)?.verdict() {
            Verdict::Applied => {}
            Verdict::Refused | Verdict::Unclear => return Err(unclear(log)),
        }
        let answer = self.create_head(log, &head).await.map_err(Failure::of_write)?;
        if_applied(answer.verdict(), head).map_err(|()| unclear(log))
    }

    fn check_datacenter(&self, log: &LogId, head: &Head) -> StorageResult<()> {
        if head.datacenter == self.datacenter {
            return Ok(());
        }
        Err(StorageError::Invalid(format!(
            "log {} is at home in datacenter {:?}, this node in {:?}: a quorum of one does not see what a quorum of the \
             other has accepted",
            log.0, head.datacenter, self.datacenter
        )))
    }

    /// Goes on from a head that has our epoch.
    async fn take_over(&self, log: &LogId, ours: &Head) -> Result<Opened, Obstacle> {
        self.fence_segment(log, ours).await?;
        let tail = self.read_tail(log, ours).await;
        // The process that raised the head after us may have trimmed what we were reading.
        let still_ours = self.read_epoch(log).await? == Some(ours.epoch);
        if !still_ours {
            return Err(Obstacle::Deposed);
        }
        let (groups, segments, last) = tail?;
        let current = segments.back().map_or(Seq(0), |segment| segment.first);
        let bytes = groups.iter().filter(|group| group.seq >= current).map(|group| group.bytes.len() as u64).sum();
        self.remember(log, Arc::new(Place::opened(ours.epoch, segments, last, bytes)));
        let head =
            storage::Head { epoch: ours.epoch, last, trimmed_below: ours.trimmed_below, watermark: ours.watermark };
        Ok(Opened { head, tail: groups })
    }

    /// From here on no append of an earlier epoch succeeds, and what had succeeded can be read.
    async fn fence_segment(&self, log: &LogId, ours: &Head) -> Result<(), Obstacle> {
        let answer = self.raise_segment(log, ours.segment, ours.epoch).await.map_err(Obstacle::Unanswered)?;
        match (answer.verdict(), answer.epoch()) {
            (Verdict::Applied, _) => Ok(()),
            // We have just created it, or a reopen of ours whose answer was lost has raised it. That it is our own work may
            // be read from the row, since a segment that was deleted is never created again.
            (Verdict::Refused, Some(epoch)) if epoch == ours.epoch => Ok(()),
            (Verdict::Refused, Some(_)) => Err(Obstacle::Deposed),
            (Verdict::Refused, None) => {
                if self.read_epoch(log).await? == Some(ours.epoch) {
                    let what = format!("log {}: its head names segment {}, which is not there", log.0, ours.segment);
                    return Err(StorageError::Corrupt(what).into());
                }
                Err(Obstacle::Deposed)
            }
            (Verdict::Unclear, _) => Err(Obstacle::Unanswered(Failure::Lost(format!("log {}: unclear", log.0)))),
        }
    }

    async fn read_tail(&self, log: &LogId, ours: &Head) -> StorageResult<(Vec<Group>, VecDeque<Segment>, Seq)> {
        let segments = self.segments(log, ours).await?;
        let Some((_, newest)) = segments.back() else {
            return Err(StorageError::Corrupt(format!("log {}: segment {} is not there", log.0, ours.segment)));
        };
        let last = newest.last;
        let mut groups = Vec::new();
        for (name, segment) in segments.iter().filter(|(_, segment)| segment.last >= ours.trimmed_below) {
            let from = segment.first.max(ours.trimmed_below);
            for group in self.read_groups(log, *name, from, segment.last).await? {
                groups.push(match &group.content {
                    Content::Inline(stored) => group.inline(log, stored)?,
                    Content::Beside(reference) => {
                        let bytes = self.read_chunks(log, *name, *reference).await?;
                        group.beside(log, *reference, bytes)?
                    }
                });
            }
        }
        let expected = ours.trimmed_below.0..=last.0;
        if !groups.iter().map(|group| group.seq.0).eq(expected.clone()) {
            let (found, from, to) = (groups.len(), expected.start(), expected.end());
            return Err(StorageError::Corrupt(format!("log {} holds {found} groups from {from} to {to}", log.0)));
        }
        let segments = segments.iter().map(|(name, state)| Segment { name: *name, first: state.first }).collect();
        Ok((groups, segments, last))
    }

    /// The segments from the one that the head names back to the oldest that is still there, oldest first. Those below
    /// the trim point were about to be deleted when their owner was deposed; the next trim deletes them.
    async fn segments(&self, log: &LogId, ours: &Head) -> StorageResult<VecDeque<(Uuid, SegmentState)>> {
        let mut segments: VecDeque<(Uuid, SegmentState)> = VecDeque::new();
        let mut before = Some(ours.segment);
        while let Some(name) = before.filter(|_| segments.len() < SEGMENTS) {
            let Some(state) = self.read_segment(log, name).await? else { break };
            if let Some((_, next)) = segments.front()
                && state.last.next() != next.first
            {
                let what = format!("ends at {}, the next begins at {}", state.last.0, next.first.0);
                return Err(StorageError::Corrupt(format!("log {}: segment {name} {what}", log.0)));
            }
            segments.push_front((name, state));
            before = state.previous;
        }
        Ok(segments)
    }
}

/// The result, if the write was applied; `None` if it was not; an error if that is not known.
fn if_applied(verdict: Verdict, head: Head) -> Result<Option<Head>, ()> {
    match verdict {
        Verdict::Applied => Ok(Some(head)),
        Verdict::Refused => Ok(None),
        Verdict::Unclear => Err(()),
    }
}

fn unclear(log: &LogId) -> StorageError {
    StorageError::Unknown(format!("opening log {} has an unknown outcome", log.0))
}
