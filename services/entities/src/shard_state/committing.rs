//! What may leave, and when: after the append that makes it durable, or after a fence check.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use storage::{Append, Epoch, GroupId, Opened, Reopen, Seq, StorageResult};

use super::ShardState;
use crate::job::Job;
use crate::log_ownership::Verdict;
use crate::log_writer::Committed;
use crate::request::HeldReply;
use crate::stop::Stop;

/// How long to wait before a fence check that failed is tried again.
const FENCE_RETRY: Duration = Duration::from_millis(50);

impl ShardState {
    /// Starts the next append, if none is in flight and there is anything to append.
    pub(super) fn flush(&mut self) {
        if let Some((seq, id, bytes)) = self.writer.launch(&mut self.seeds) {
            self.append(seq, id, bytes);
        }
    }

    fn append(&mut self, seq: Seq, id: GroupId, bytes: Bytes) {
        self.jobs.push(Job::Append { epoch: self.ownership.epoch(), seq, id, bytes });
    }

    pub(super) fn on_append(&mut self, epoch: Epoch, outcome: Append) {
        match self.ownership.verdict(epoch, outcome) {
            Verdict::Done => self.release_committed(),
            Verdict::Fenced => self.stop(Stop::Fenced),
            Verdict::Retry => {
                tracing::warn!(log = %self.log.0, "append outcome unknown, reopening the log");
                self.metrics.unknown_appends.increment(1);
                self.ownership.begin_resolving();
                self.jobs.push(Job::Reopen { epoch: self.ownership.epoch(), delay: Duration::ZERO });
            }
        }
    }

    /// An attempt to reopen the log has ended.
    pub(super) fn on_reopened(&mut self, reopened: StorageResult<Reopen>) {
        match reopened {
            Ok(Reopen::Reopened(opened)) => return self.on_resolved(&opened),
            Ok(Reopen::Fenced) => return self.stop(Stop::Fenced),
            Ok(Reopen::Unknown) => {}
            Err(error) => tracing::warn!(log = %self.log.0, %error, "cannot reopen the log yet"),
        }
        let delay = self.ownership.next_delay();
        self.jobs.push(Job::Reopen { epoch: self.ownership.epoch(), delay });
    }

    /// The log is reopened: either our group is in it, or it is appended again under the new epoch.
    fn on_resolved(&mut self, opened: &Opened) {
        self.ownership.resolved(opened.head.epoch);
        let Some((seq, id, bytes)) = self.writer.in_flight_group() else { return };
        if opened.head.last < seq && opened.head.last.next() == seq {
            self.append(seq, id, bytes);
        } else if opened.tail.iter().any(|group| group.seq == seq && group.id == id) {
            self.release_committed();
        } else {
            // No other owner came between, and yet the position is not ours: one of the two statements is false.
            tracing::error!(log = %self.log.0, seq = seq.0, last = opened.head.last.0, "the log holds a foreign group");
            self.stop(Stop::Fenced);
        }
    }

    fn release_committed(&mut self) {
        let Some(Committed { seq, bytes, on_durable }) = self.writer.commit_in_flight() else { return };
        self.checkpoints.group_committed(seq, bytes, self.moment.now);
        self.metrics.groups.increment(1);
        self.jobs.push(Job::Release(on_durable.replies));
        for start in on_durable.obligations {
            self.start(start);
        }
        for slot in on_durable.changed.into_iter().filter_map(|id| self.entities.get(id)) {
            self.jobs.push(Job::Committed { kind: Arc::clone(&slot.kind), key: slot.key.clone() });
        }
    }

    /// Lets an answer leave when `position` is durable.
    pub(super) fn hold_for(&mut self, position: Seq, reply: HeldReply) {
        if let Some(reply) = self.writer.attach_reply(position, reply) {
            self.jobs.push(Job::Reply(reply));
        }
    }

    /// Lets an answer that changed nothing leave once `position` is durable and a fence check begun from now on has passed.
    pub(super) fn hold_read(&mut self, position: Seq, reply: HeldReply) {
        if let Some(epoch) = self.moment.local_epoch {
            match self.ownership.verdict_of_epoch(epoch) {
                Verdict::Done => self.hold_for(position, reply),
                // Reopening, perhaps already under our own new epoch: its outcome is the check.
                Verdict::Retry => {
                    let in_flight = self.writer.in_flight().unwrap_or(position);
                    self.hold_for(position.max(in_flight), reply);
                }
                Verdict::Fenced => self.stop(Stop::Fenced),
            }
        } else if let Some(unlaunched) = self.writer.first_unlaunched() {
            self.hold_for(position.max(unlaunched), reply);
        } else {
            self.fences.hold(position, reply);
        }
    }

    /// Finds out whether the shard is still ours, though no reply depends on it.
    pub(super) fn suspect_fence(&mut self) {
        match self.moment.local_epoch.map(|epoch| self.ownership.verdict_of_epoch(epoch)) {
            Some(Verdict::Fenced) => self.stop(Stop::Fenced),
            Some(Verdict::Done | Verdict::Retry) => {}
            None => self.fences.suspect(),
        }
    }

    /// Starts a fence check for what waits for one.
    pub(super) fn check_fence(&mut self) {
        if !self.fences.is_wanted() {
            return;
        }
        match self.moment.local_epoch.map(|epoch| self.ownership.verdict_of_epoch(epoch)) {
            Some(Verdict::Done) => {
                let suspects = self.fences.take_suspects();
                self.confirm_corrupt(suspects);
            }
            Some(Verdict::Retry) => {}
            Some(Verdict::Fenced) => self.stop(Stop::Fenced),
            None => {
                self.fences.begin();
                self.jobs.push(Job::CheckFence { delay: Duration::ZERO });
            }
        }
    }

    /// A fence check is back.
    pub(super) fn on_fence(&mut self, epoch: StorageResult<Epoch>) {
        match epoch.map(|epoch| self.ownership.verdict_of_epoch(epoch)) {
            Ok(Verdict::Done) => {
                let (reads, suspects) = self.fences.passed();
                reads.into_iter().for_each(|read| self.hold_for(read.position, read.reply));
                self.confirm_corrupt(suspects);
            }
            Ok(Verdict::Retry) => self.jobs.push(Job::CheckFence { delay: FENCE_RETRY }),
            Ok(Verdict::Fenced) => self.stop(Stop::Fenced),
            Err(error) => {
                tracing::warn!(log = %self.log.0, %error, "fence check failed, retrying");
                self.jobs.push(Job::CheckFence { delay: FENCE_RETRY });
            }
        }
    }
}
