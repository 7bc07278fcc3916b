//! Logs in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use ids::Timestamp;

use crate::{Append, Epoch, Group, GroupId, Head, Log, LogId, Opened, OwnerNonce, Reopen, Seq, StorageResult};

#[derive(Default)]
pub(super) struct MemoryLog {
    logs: Mutex<HashMap<LogId, OneLog>>,
}

struct OneLog {
    epoch: Epoch,
    owner: OwnerNonce,
    /// The epoch from which `reopen` raised to the present one: what makes a repeated `reopen` recognisable.
    reopened_from: Option<Epoch>,
    last: Seq,
    trimmed_below: Seq,
    watermark: Timestamp,
    groups: VecDeque<Group>,
}

impl OneLog {
    fn never_opened(owner: OwnerNonce) -> Self {
        Self {
            epoch: Epoch(0),
            owner,
            reopened_from: None,
            last: Seq(0),
            trimmed_below: Seq(1),
            watermark: Timestamp::EPOCH,
            groups: VecDeque::new(),
        }
    }

    fn opened(&self) -> Opened {
        let head =
            Head { epoch: self.epoch, last: self.last, trimmed_below: self.trimmed_below, watermark: self.watermark };
        Opened { head, tail: self.groups.iter().cloned().collect() }
    }
}

impl MemoryLog {
    fn lock(&self) -> MutexGuard<'_, HashMap<LogId, OneLog>> {
        // Nothing panics while holding the lock, and if it did, each log would still be whole.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `change` if `epoch` still owns the log. Only a higher epoch is `Fenced`; any other mismatch (a claim to an
    /// epoch that was never given) is left to `reopen` to sort out.
    fn as_owner(&self, log: &LogId, epoch: Epoch, change: impl FnOnce(&mut OneLog) -> Append) -> Append {
        match self.lock().get_mut(log) {
            Some(state) if state.epoch == epoch => change(state),
            Some(state) if state.epoch > epoch => Append::Fenced,
            _ => Append::Unknown,
        }
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn open(&self, log: &LogId, owner: OwnerNonce) -> StorageResult<Opened> {
        let mut logs = self.lock();
        let state = logs.entry(log.clone()).or_insert_with(|| OneLog::never_opened(owner));
        state.epoch.0 += 1;
        state.owner = owner;
        state.reopened_from = None;
        Ok(state.opened())
    }

    async fn reopen(&self, log: &LogId, epoch: Epoch, owner: OwnerNonce) -> StorageResult<Reopen> {
        let mut logs = self.lock();
        let Some(state) = logs.get_mut(log).filter(|state| state.owner == owner) else {
            return Ok(Reopen::Fenced);
        };
        if state.epoch == epoch {
            state.epoch.0 += 1;
            state.reopened_from = Some(epoch);
        } else if state.reopened_from != Some(epoch) {
            return Ok(Reopen::Fenced);
        }
        Ok(Reopen::Reopened(state.opened()))
    }

    async fn append(&self, log: &LogId, epoch: Epoch, seq: Seq, id: GroupId, bytes: Bytes) -> Append {
        self.as_owner(log, epoch, |state| {
            if seq != state.last.next() {
                // Under our own epoch this can only be an earlier append of ours that landed after all.
                return Append::Unknown;
            }
            state.last = seq;
            state.groups.push_back(Group { seq, id, epoch, bytes });
            Append::Appended
        })
    }

    async fn epoch(&self, log: &LogId) -> StorageResult<Epoch> {
        Ok(self.lock().get(log).map_or(Epoch(0), |state| state.epoch))
    }

    fn epoch_if_local(&self, log: &LogId) -> Option<Epoch> {
        Some(self.lock().get(log).map_or(Epoch(0), |state| state.epoch))
    }

    async fn set_watermark(&self, log: &LogId, epoch: Epoch, at: Timestamp) -> Append {
        self.as_owner(log, epoch, |state| {
            state.watermark = state.watermark.max(at);
            Append::Appended
        })
    }

    async fn trim(&self, log: &LogId, epoch: Epoch, below: Seq) -> Append {
        self.as_owner(log, epoch, |state| {
            let below = below.min(state.last.next());
            state.trimmed_below = state.trimmed_below.max(below);
            while state.groups.front().is_some_and(|group| group.seq < below) {
                state.groups.pop_front();
            }
            Append::Appended
        })
    }
}
