//! The groups that the log still holds, and what of them may go.

use std::collections::VecDeque;
use std::time::Duration;

use ids::Timestamp;
use storage::Seq;

/// How long to wait before a trim that failed is tried again.
const TRIM_RETRY_DELAY: Duration = Duration::from_millis(200);

struct TailGroup {
    seq: Seq,
    /// Bytes of all groups up to and with this one, since the shard was opened.
    end: u64,
    committed: Timestamp,
}

/// The log's tail, as far as it is durable.
pub(super) struct LogTail {
    groups: VecDeque<TailGroup>,
    start: u64,
    end: u64,
    trimmed_below: Seq,
    trimming: bool,
    no_trim_before: Timestamp,
}

impl LogTail {
    pub(super) fn new(trimmed_below: Seq) -> Self {
        let no_trim_before = Timestamp::EPOCH;
        Self { groups: VecDeque::new(), start: 0, end: 0, trimmed_below, trimming: false, no_trim_before }
    }

    pub(super) fn depth(&self) -> u64 {
        self.groups.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.end - self.start
    }

    /// When the oldest group became durable, or was found.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.groups.front().map(|group| group.committed)
    }

    pub(super) fn last(&self) -> Option<Seq> {
        self.groups.back().map(|group| group.seq)
    }

    /// A group is durable.
    pub(super) fn committed(&mut self, seq: Seq, bytes: usize, at: Timestamp) {
        self.end += bytes as u64;
        self.groups.push_back(TailGroup { seq, end: self.end, committed: at });
    }

    /// The first of the newest groups that are no more than these many bytes together.
    pub(super) fn newest_within(&self, bytes: u64) -> Option<Seq> {
        let keep_from = self.end - bytes;
        let kept = self.groups.partition_point(|group| group.end <= keep_from);
        self.groups.get(kept).map(|group| group.seq)
    }

    /// The first group that became durable after this time.
    pub(super) fn first_after(&self, at: Timestamp) -> Option<Seq> {
        let kept = self.groups.partition_point(|group| group.committed <= at);
        self.groups.get(kept).map(|group| group.seq)
    }

    /// When a trim that failed may be tried again.
    pub(super) fn next_trim(&self) -> Timestamp {
        self.no_trim_before
    }

    /// Whether it is trimmed below `bound`, and no trim runs.
    pub(super) fn is_trimmed(&self, bound: Seq) -> bool {
        !self.trimming && bound <= self.trimmed_below
    }

    /// Begins to trim below `bound`, if that frees anything: as much as `least` bytes, unless `any` will do.
    pub(super) fn begin_trim(&mut self, bound: Seq, any: bool, least: u64, now: Timestamp) -> bool {
        if now < self.no_trim_before || self.trimming || bound <= self.trimmed_below {
            return false;
        }
        let freed = self.groups.partition_point(|group| group.seq < bound);
        let bytes = freed.checked_sub(1).map_or(0, |last| self.groups[last].end - self.start);
        // One trim per round is enough, unless much can go.
        self.trimming = any || bytes > least;
        self.trimming
    }

    /// The log is trimmed below this.
    pub(super) fn trimmed(&mut self, below: Seq) {
        self.trimming = false;
        self.trimmed_below = self.trimmed_below.max(below);
        while let Some(group) = self.groups.pop_front_if(|group| group.seq < below) {
            self.start = group.end;
        }
    }

    /// A trim failed. The next one goes at least as far.
    pub(super) fn trim_failed(&mut self, now: Timestamp) {
        self.trimming = false;
        self.no_trim_before = now + TRIM_RETRY_DELAY;
    }
}
