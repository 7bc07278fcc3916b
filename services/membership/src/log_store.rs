//! Raft's log and vote: in memory to be read, on disk to be kept.
//!
//! The log is short, since snapshots come often and are small, so all of it stays in memory. What Raft takes to be
//! durable has been synced.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader, StorageIOError};
use tokio::sync::watch;

use crate::disk::{Contents, Disk, Fact, Write};
use crate::raft_group::{Entry, Group, LogId, StorageError, Vote};
use crate::state_machine::SnapshotOnDisk;

/// The log of a voter. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    disk: Disk,
    kept: Arc<Mutex<Kept>>,
    snapshot: watch::Receiver<SnapshotOnDisk>,
}

#[derive(Default)]
struct Kept {
    log: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
}

impl LogStore {
    /// Takes what the disk holds. `snapshot` is how far the snapshot there reaches.
    ///
    /// A crash after a snapshot was installed and before the log was cut may leave entries that contradict the snapshot, or
    /// end before it: they and all that follow are in the snapshot or were never committed, and are dropped.
    pub(crate) async fn open(
        disk: Disk,
        contents: &Contents,
        snapshot: watch::Receiver<SnapshotOnDisk>,
    ) -> io::Result<Self> {
        let mut log = BTreeMap::new();
        for (index, bytes) in &contents.log {
            log.insert(*index, serde_json::from_slice::<Entry>(bytes)?);
        }
        let fact = |fact| contents.fact(fact);
        let mut kept = Kept {
            log,
            purged: fact(Fact::Purged).map(serde_json::from_slice).transpose()?,
            vote: fact(Fact::Vote).map(serde_json::from_slice).transpose()?,
            committed: fact(Fact::Committed).map(serde_json::from_slice).transpose()?,
        };
        let covered = snapshot.borrow().clone().map_err(io::Error::other)?;
        if let Some(last) = covered
            && kept.purged.is_none_or(|purged| purged.index < last.index)
            && kept.log.get(&last.index).is_none_or(|entry| entry.log_id != last)
        {
            kept.log.clear();
            kept.purged = Some(last);
            disk.write(vec![Write::Truncate(0), Write::Fact(Fact::Purged, serde_json::to_vec(&last)?)]).await?;
        }
        Ok(Self { disk, kept: Arc::new(Mutex::new(kept)), snapshot })
    }

    /// Waits until the snapshot on disk has an entry. Raft hands a snapshot that it has received to the state machine and
    /// cuts the log at once; were the log cut on disk first, a crash in between would leave neither.
    async fn snapshot_covers(&self, index: u64) -> io::Result<()> {
        let mut snapshot = self.snapshot.clone();
        let settled = |on_disk: &SnapshotOnDisk| match on_disk {
            Ok(last) => last.is_some_and(|last| last.index >= index),
            Err(_) => true,
        };
        let outcome = snapshot.wait_for(settled).await.map_err(io::Error::other)?.clone();
        outcome.map(drop).map_err(io::Error::other)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error of the disk, as Raft wants it. It stops the voter.
pub(crate) fn storage_error(subject: ErrorSubject<u64>, verb: ErrorVerb, error: io::Error) -> StorageError {
    StorageError::IO { source: StorageIOError::new(subject, verb, &error) }
}

fn write_error(error: impl Into<io::Error>) -> StorageError {
    storage_error(ErrorSubject::Logs, ErrorVerb::Write, error.into())
}

impl RaftLogReader<Group> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        Ok(self.kept().log.range(range).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<Group> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Group>, StorageError> {
        let kept = self.kept();
        let last = kept.log.last_key_value().map(|(_, entry)| entry.log_id);
        Ok(LogState { last_purged_log_id: kept.purged, last_log_id: last.or(kept.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let failed = |error| storage_error(ErrorSubject::Vote, ErrorVerb::Write, error);
        let bytes = serde_json::to_vec(vote).map_err(|error| failed(error.into()))?;
        self.disk.write(vec![Write::Fact(Fact::Vote, bytes)]).await.map_err(failed)?;
        self.kept().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.kept().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        if let Some(committed) = committed {
            let bytes = serde_json::to_vec(&committed).map_err(write_error)?;
            self.disk.write_lazily(vec![Write::Fact(Fact::Committed, bytes)]);
            self.kept().committed = Some(committed);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.kept().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Group>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut rows = Vec::with_capacity(entries.len());
        for entry in &entries {
            rows.push((entry.log_id.index, serde_json::to_vec(entry).map_err(write_error)?));
        }
        self.kept().log.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
        self.disk.write_then(vec![Write::Append(rows)], |result| callback.log_io_completed(result));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.kept().log.split_off(&log_id.index);
        self.disk.write(vec![Write::Truncate(log_id.index)]).await.map_err(write_error)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let bytes = serde_json::to_vec(&log_id).map_err(write_error)?;
        self.snapshot_covers(log_id.index).await.map_err(write_error)?;
        {
            let mut kept = self.kept();
            let rest = kept.log.split_off(&(log_id.index + 1));
            kept.log = rest;
            kept.purged = Some(log_id);
        }
        let writes = vec![Write::Purge(log_id.index), Write::Fact(Fact::Purged, bytes)];
        self.disk.write(writes).await.map_err(write_error)
    }
}
