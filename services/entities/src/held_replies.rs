//! Replies that wait until they may leave: for durability, and, when nothing was changed, for proof that this shard was
//! still ours after the request came.

use std::time::Duration;

use storage::{Epoch, Seq, StorageResult};

use crate::job::Job;
use crate::log_ownership::Verdict;
use crate::quarantine::Accusation;
use crate::request::HeldReply;
use crate::shard_state::ShardState;
use crate::stop::Stop;

/// How long to wait before a fence check that failed is tried again.
const FENCE_RETRY: Duration = Duration::from_millis(50);

/// An answer to something that changed nothing.
struct HeldRead {
    /// The position that it saw.
    position: Seq,
    reply: HeldReply,
}

/// Reads that wait for a quorum read of the log's epoch, shared by all who came before it began.
pub(crate) struct FenceChecks {
    /// Those whom the check that runs now serves.
    checking: Vec<HeldRead>,
    running: bool,
    /// Those who came since it began.
    next: Vec<HeldRead>,
    /// Entities that look corrupt, or stale: to be judged by the check that runs now, and by the next.
    judged: Vec<Accusation>,
    accused: Vec<Accusation>,
    /// Whether the shard itself wants to know.
    suspected: bool,
}

impl FenceChecks {
    pub(crate) fn new() -> Self {
        Self {
            checking: Vec::new(),
            running: false,
            next: Vec::new(),
            judged: Vec::new(),
            accused: Vec::new(),
            suspected: false,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        !self.running && self.next.is_empty() && self.accused.is_empty()
    }
}

impl ShardState {
    /// Lets an answer that changed nothing leave once `position` is durable and a fence check begun from now on has passed.
    pub(crate) fn hold_read(&mut self, position: Seq, reply: HeldReply) {
        if let Some(epoch) = self.moment.local_epoch {
            match self.ownership.judge_epoch(epoch) {
                Verdict::Done => self.release_at(position, reply),
                // Reopening, perhaps already under our own new epoch: its outcome is the check.
                Verdict::Retry => {
                    let in_flight = self.writer.in_flight().unwrap_or(position);
                    self.release_at(position.max(in_flight), reply);
                }
                Verdict::Fenced => self.stop(Stop::Fenced),
            }
        } else if let Some(unlaunched) = self.writer.first_unlaunched() {
            self.release_at(position.max(unlaunched), reply);
        } else {
            self.fences.next.push(HeldRead { position, reply });
        }
    }

    fn release_at(&mut self, position: Seq, reply: HeldReply) {
        if let Some(reply) = self.writer.attach_reply(position, reply) {
            self.jobs.push(Job::Reply(reply));
        }
    }

    /// Finds out whether the shard is still ours, though nobody waits for the answer.
    pub(crate) fn suspect_fence(&mut self) {
        match self.moment.local_epoch.map(|epoch| self.ownership.judge_epoch(epoch)) {
            Some(Verdict::Fenced) => self.stop(Stop::Fenced),
            Some(Verdict::Done | Verdict::Retry) => {}
            None => self.fences.suspected = true,
        }
    }

    /// Has an entity judged by the next fence check.
    pub(crate) fn await_judgement(&mut self, accusation: Accusation) {
        self.fences.accused.push(accusation);
    }

    /// Starts a fence check for those who wait for one.
    pub(crate) fn check_fence(&mut self) {
        let fences = &mut self.fences;
        let wanted = fences.suspected || !fences.next.is_empty() || !fences.accused.is_empty();
        if fences.running || !wanted {
            return;
        }
        if let Some(epoch) = self.moment.local_epoch {
            return match self.ownership.judge_epoch(epoch) {
                Verdict::Done => {
                    let accused = std::mem::take(&mut fences.accused);
                    self.convict(accused);
                }
                Verdict::Retry => {}
                Verdict::Fenced => self.stop(Stop::Fenced),
            };
        }
        fences.running = true;
        fences.suspected = false;
        std::mem::swap(&mut fences.checking, &mut fences.next);
        std::mem::swap(&mut fences.judged, &mut fences.accused);
        self.jobs.push(Job::CheckFence { delay: Duration::ZERO });
    }

    /// A fence check is back.
    pub(crate) fn on_fence(&mut self, epoch: StorageResult<Epoch>) {
        match epoch.map(|epoch| self.ownership.judge_epoch(epoch)) {
            Ok(Verdict::Done) => {
                self.fences.running = false;
                for read in std::mem::take(&mut self.fences.checking) {
                    self.release_at(read.position, read.reply);
                }
                let judged = std::mem::take(&mut self.fences.judged);
                self.convict(judged);
            }
            Ok(Verdict::Retry) => self.retry_fence_check(),
            Ok(Verdict::Fenced) => self.stop(Stop::Fenced),
            Err(error) => {
                tracing::warn!(log = %self.log.0, %error, "fence check failed, retrying");
                self.retry_fence_check();
            }
        }
    }

    fn retry_fence_check(&mut self) {
        self.jobs.push(Job::CheckFence { delay: FENCE_RETRY });
    }
}
