//! Wake-ups that are due, and the upkeep of their rows.

use std::time::Duration;

use storage::{Append, Epoch, PartitionPage, StorageResult};

use super::ShardState;
use crate::EntityKey;
use crate::entity_slot::{Residence, SlotId};
use crate::job::Job;
use crate::log_ownership::Verdict;
use crate::request::{Origin, Request};
use crate::stop::Stop;
use crate::wake_ups::WATERMARK_RETRY;
use crate::wake_ups::buckets::Bucket;
use crate::wake_ups::rows::WakeUpsRead;

/// How many due wake-ups one turn delivers.
const PER_TURN: usize = 128;

impl ShardState {
    /// Schedules the entity's next wake-up. `woken`: a wake-up has just been delivered; `changed`: the state is new.
    pub(super) fn schedule_wake_up(&mut self, id: SlotId, woken: bool, changed: bool) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        if self.wake_ups.schedule(slot, woken, changed, self.moment) {
            self.suspect_fence();
        }
    }

    /// Delivers what is due; says whether more is.
    pub(super) fn fire_due(&mut self) -> bool {
        if self.closing.is_some() {
            return false;
        }
        for _ in 0..PER_TURN {
            let Some((due, key)) = self.wake_ups.pop_due(self.moment.now) else { return false };
            let Some(id) = self.entities.find(&key) else {
                self.wake_ups.load_later(due, key);
                continue;
            };
            let Some(slot) = self.entities.get_mut(id) else { continue };
            if matches!(slot.residence, Residence::Loading) {
                // Once loaded, it is scheduled for what its state says.
                slot.waking = true;
                continue;
            }
            // Otherwise a stale row: the state says another time, and is scheduled for that.
            if slot.scheduled == Some(due) {
                slot.scheduled = None;
                slot.waking = true;
                let input = slot.kind.kind.wake_up();
                self.give(Request { key, input, origin: Origin::WakeUp });
            }
        }
        true
    }

    /// Loads the entities that are due and not in memory, as far as there is room. A load that ends brings the shard back here.
    pub(super) fn load_due(&mut self) {
        while self.closing.is_none()
            && !self.loads.is_saturated(self.settings.concurrent_loads)
            && let Some(key) = self.wake_ups.next_to_load()
        {
            // Once loaded, it is scheduled for what its state says; as is an entity that is in memory by now.
            if let Some(id) = self.find_or_load(&key)
                && let Some(slot) = self.entities.get_mut(id)
                && matches!(slot.residence, Residence::Loading)
            {
                slot.waking = true;
            }
        }
    }

    /// Reads ahead, makes up for what cannot be read, moves the watermark, and drops what it has passed.
    pub(super) fn keep_wake_ups(&mut self) {
        self.jobs.extend(self.wake_ups.read(self.moment.now, self.settings.wake_up_horizon));
        if self.closing.is_none() {
            self.jobs.extend(self.wake_ups.walk(&self.kinds));
        }
        self.move_watermark();
        let checkpoints = &self.checkpoints;
        let have_finished = |batch| checkpoints.finished_before(batch);
        self.jobs.extend(self.wake_ups.drop_passed(have_finished, self.writer.durable()));
    }

    pub(super) fn on_wake_ups(&mut self, read: WakeUpsRead) {
        let page = match read {
            WakeUpsRead::Page(page) => page,
            WakeUpsRead::Unreachable(error) => {
                tracing::warn!(log = %self.log.0, %error, "cannot read wake-ups yet");
                return self.jobs.push(self.wake_ups.read_again());
            }
        };
        let (log, kinds, entities, quarantine) = (&self.log, &self.kinds, &self.entities, &self.quarantined);
        self.wake_ups.take_page(page, |due, key| {
            if !kinds.hosts(key.kind) {
                tracing::error!(log = %log.0, ?key, %due, "ignoring a wake-up of a kind that is not served here");
                return false;
            }
            // What the state of an entity in memory says is newer than its row.
            !entities.is_ready(key) && !quarantine.contains_key(key)
        });
    }

    /// Has the entities of these partitions loaded that are this shard's and not in memory.
    pub(super) fn on_partitions(&mut self, listed: StorageResult<PartitionPage>) {
        let page = match listed {
            Ok(page) => page,
            Err(error) => return self.jobs.extend(self.wake_ups.list_again(&error)),
        };
        let keys = page.partitions.iter().filter_map(|partition| self.kinds.entity_of(partition));
        let own: Vec<_> = keys.filter(|key| self.kinds.slot(key).is_some_and(|slot| self.place.holds(slot))).collect();
        let found = own.len();
        let is_missing = |key: &EntityKey| !self.entities.is_ready(key) && !self.quarantined.contains_key(key);
        let missing = own.into_iter().filter(is_missing).collect();
        self.wake_ups.take_partitions(page, found, missing);
    }

    fn move_watermark(&mut self) {
        if self.ownership.is_resolving() {
            return;
        }
        if let Some(target) = self.wake_ups.advance(self.moment.now, self.checkpoints.next_batch()) {
            self.rewrite_and_move(target, Duration::ZERO);
        }
    }

    /// Writes rows for entities that must be looked at although the bucket that says so is about to be passed. That is so too for
    /// those with changes that are not durable: they may be lost, and what a row in that bucket says is then true again.
    /// And for the quarantined: the next owner may be able to serve them. Looks at every slot; the watermark moves a few
    /// times an hour.
    fn rewrite_and_move(&mut self, target: Bucket, delay: Duration) {
        let durable = self.writer.durable();
        let standing = self.entities.iter().filter(|slot| {
            let is_due = slot.next_wake_up.is_some_and(|at| Bucket::of(at) < target);
            let is_loading = matches!(slot.residence, Residence::Loading);
            is_due || is_loading || slot.waking || !slot.owed.is_empty() || slot.last_change > durable
        });
        let keys = standing.map(|slot| &slot.key).chain(self.quarantined.keys());
        let rows = self.wake_ups.rewritten(target, keys, durable);
        self.jobs.push(Job::MoveWatermark { epoch: self.ownership.epoch(), to: target, rows, delay });
    }

    pub(super) fn on_watermark(&mut self, epoch: Epoch, at: Bucket, outcome: Append) {
        match self.ownership.verdict(epoch, outcome) {
            Verdict::Done => self.wake_ups.advanced(),
            Verdict::Fenced => self.stop(Stop::Fenced),
            Verdict::Retry => {
                tracing::warn!(log = %self.log.0, "cannot move the wake-up watermark yet");
                self.rewrite_and_move(at, WATERMARK_RETRY);
            }
        }
    }
}
