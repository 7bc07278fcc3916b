//! Applies committed entries to the cluster's state, and keeps snapshots of it.
//!
//! The state lives in memory. After a restart it is the newest snapshot, which is on disk, with the log's committed
//! entries applied again: so an entry is never applied twice to the same state, and nothing but snapshots need be synced.

use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster::Ring;
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::cluster_state::ClusterState;
use crate::command::Replies;
use crate::disk::{Contents, Disk, Fact, Write};
use crate::identities::Identities;
use crate::log_store::storage_error;
use crate::raft_group::{Entry, Group, LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership};

/// The replicated state on this voter. Clones share it.
#[derive(Clone)]
pub(crate) struct StateMachine {
    disk: Disk,
    identities: Arc<Identities>,
    applied: Arc<Mutex<Applied>>,
    ring: watch::Sender<Arc<Ring>>,
    on_disk: watch::Sender<SnapshotOnDisk>,
    /// Held while a snapshot is written.
    keeping: Arc<tokio::sync::Mutex<()>>,
}

/// The last entry in the snapshot on disk, or why the one that was to come is not there.
pub(crate) type SnapshotOnDisk = Result<Option<LogId>, String>;

#[derive(Default)]
struct Applied {
    last: Option<LogId>,
    membership: StoredMembership,
    state: ClusterState,
    snapshot: Option<StoredSnapshot>,
}

/// A stored format.
#[derive(Clone, Serialize, Deserialize)]
struct StoredSnapshot {
    meta: SnapshotMeta,
    state: ClusterState,
}

impl StateMachine {
    /// Takes the newest snapshot from disk.
    pub(crate) fn open(disk: Disk, contents: &Contents, identities: Arc<Identities>) -> io::Result<Self> {
        let mut applied = Applied::default();
        if let Some(bytes) = contents.fact(Fact::Snapshot) {
            let snapshot: StoredSnapshot = serde_json::from_slice(bytes)?;
            applied.last = snapshot.meta.last_log_id;
            applied.membership = snapshot.meta.last_membership.clone();
            applied.state = snapshot.state.clone();
            applied.snapshot = Some(snapshot);
        }
        let ring = watch::Sender::new(applied.state.shared_ring());
        let on_disk = watch::Sender::new(Ok(applied.last));
        let applied = Arc::new(Mutex::new(applied));
        Ok(Self { disk, identities, applied, ring, on_disk, keeping: Arc::default() })
    }

    /// The state as of now on this voter.
    pub(crate) fn state(&self) -> ClusterState {
        self.applied().state.clone()
    }

    /// Looks at the state without copying it.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&ClusterState) -> T) -> T {
        at(&self.applied().state)
    }

    /// Ring versions, as they are applied on this voter.
    pub(crate) fn ring(&self) -> watch::Receiver<Arc<Ring>> {
        self.ring.subscribe()
    }

    /// How far the snapshot on disk reaches.
    pub(crate) fn on_disk(&self) -> watch::Receiver<SnapshotOnDisk> {
        self.on_disk.subscribe()
    }

    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the state to the rest of the process.
    fn publish(&self, state: &ClusterState) {
        self.identities.learn(state);
        if self.ring.borrow().version != state.ring_version {
            self.ring.send_replace(state.shared_ring());
        }
    }

    /// Puts a snapshot on disk, unless a newer one is there: one may be installed while another is built.
    async fn keep(&self, snapshot: &StoredSnapshot) -> Result<(), StorageError> {
        let failed = |error| {
            let subject = ErrorSubject::Snapshot(Some(snapshot.meta.signature()));
            storage_error(subject, ErrorVerb::Write, error)
        };
        let _one_at_a_time = self.keeping.lock().await;
        let last = snapshot.meta.last_log_id;
        if self.applied().snapshot.as_ref().is_some_and(|kept| kept.meta.last_log_id > last) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(snapshot).map_err(|error| failed(error.into()))?;
        self.disk.write(vec![Write::Fact(Fact::Snapshot, bytes)]).await.map_err(failed)?;
        self.applied().snapshot = Some(snapshot.clone());
        drop(self.on_disk.send_replace(Ok(last)));
        Ok(())
    }

    async fn install(&self, meta: &SnapshotMeta, bytes: &[u8]) -> Result<(), StorageError> {
        let state: ClusterState = serde_json::from_slice(bytes).map_err(|error| {
            storage_error(ErrorSubject::Snapshot(Some(meta.signature())), ErrorVerb::Read, error.into())
        })?;
        let snapshot = StoredSnapshot { meta: meta.clone(), state };
        self.keep(&snapshot).await?;
        let mut applied = self.applied();
        applied.last = meta.last_log_id;
        applied.membership = meta.last_membership.clone();
        applied.state = snapshot.state;
        self.publish(&applied.state);
        Ok(())
    }
}

#[allow(clippy::result_large_err, reason = "the Raft library's error")]
fn to_send(snapshot: &StoredSnapshot) -> Result<Snapshot, StorageError> {
    let bytes = serde_json::to_vec(&snapshot.state).map_err(|error| {
        let subject = ErrorSubject::Snapshot(Some(snapshot.meta.signature()));
        storage_error(subject, ErrorVerb::Read, error.into())
    })?;
    Ok(Snapshot { meta: snapshot.meta.clone(), snapshot: Box::new(Cursor::new(bytes)) })
}

impl RaftSnapshotBuilder<Group> for StateMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let snapshot = {
            let applied = self.applied();
            let id = applied.last.map(|last| format!("{}-{}", last.leader_id.term, last.index)).unwrap_or_default();
            let last_membership = applied.membership.clone();
            let meta = SnapshotMeta { last_log_id: applied.last, last_membership, snapshot_id: id };
            StoredSnapshot { meta, state: applied.state.clone() }
        };
        self.keep(&snapshot).await?;
        to_send(&snapshot)
    }
}

impl RaftStateMachine<Group> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let applied = self.applied();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Replies>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut applied = self.applied();
        let mut replies = Vec::new();
        for entry in entries {
            applied.last = Some(entry.log_id);
            replies.push(match entry.payload {
                EntryPayload::Blank => Replies::default(),
                EntryPayload::Normal(batch) => applied.state.apply(&batch),
                EntryPayload::Membership(membership) => {
                    applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Replies::default()
                }
            });
        }
        self.publish(&applied.state);
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let installed = self.install(meta, snapshot.get_ref()).await;
        if let Err(error) = &installed {
            // Raft waits with its log for this snapshot.
            drop(self.on_disk.send_replace(Err(error.to_string())));
        }
        installed
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let snapshot = self.applied().snapshot.clone();
        snapshot.as_ref().map(to_send).transpose()
    }
}
