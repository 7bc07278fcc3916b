//! A voter: one member of the Raft group.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use cluster::NodeId;
use internal_api::membership::membership_server::MembershipServer;
use openraft::error::{InitializeError, RaftError};
use runtime::Runtime;
use settings::MembershipSettings;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::disk::{Contents, Disk, DiskError, Fact, Write};
use crate::identities::Identities;
use crate::leadership::{Leadership, run_leader};
use crate::log_store::LogStore;
use crate::peer_client::{MAX_MESSAGE_BYTES, PeerClients};
use crate::raft_group::{self, Peer, Raft, raft_id};
use crate::service::VoterService;
use crate::settings::VoterSettings;
use crate::state_machine::StateMachine;

/// Why a voter cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is invalid.
    #[error("{0}")]
    Settings(String),
    /// Another process uses the data folder.
    #[error("the data folder {} is in use by another process: each voter needs its own", .0.display())]
    InUse(PathBuf),
    /// The data folder is another voter's, or another cluster's.
    #[error("the data folder {} {what}", folder.display())]
    Foreign {
        /// Which folder.
        folder: PathBuf,
        /// Whose it is.
        what: String,
    },
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}: {why}", folder.display())]
    Disk {
        /// Which folder.
        folder: PathBuf,
        /// What was tried and failed.
        why: String,
    },
    /// Raft does not start.
    #[error("raft does not start: {0}")]
    Raft(String),
}

/// A running voter. Dropping it without [`Voter::stop`] is as if its process had died.
pub struct Voter {
    shared: Arc<Shared>,
    leadership: watch::Receiver<Option<Leadership>>,
}

/// What a voter's parts share.
pub(crate) struct Shared {
    pub(crate) identities: Arc<Identities>,
    pub(crate) raft: Raft,
    pub(crate) machine: StateMachine,
    pub(crate) runtime: Runtime,
    pub(crate) timings: MembershipSettings,
    pub(crate) stopped: CancellationToken,
    pub(crate) broken: watch::Sender<Option<String>>,
    /// Held while the group of voters changes.
    pub(crate) changing_voters: Arc<tokio::sync::Mutex<()>>,
}

impl Voter {
    /// Opens the data folder and takes part in the Raft group. An initial voter with an empty folder forms the group with
    /// the others; one that is not initial waits to be added. Mount [`Voter::service`] at once: it cannot be answered before.
    ///
    /// # Errors
    /// When it cannot start, with what to do about it.
    pub async fn start(settings: VoterSettings, runtime: Runtime) -> Result<Self, StartError> {
        settings.check().map_err(StartError::Settings)?;
        let folder = &settings.data_dir;
        let (disk, contents) = Disk::open(folder).map_err(|error| match error {
            DiskError::InUse => StartError::InUse(folder.clone()),
            error => StartError::Disk { folder: folder.clone(), why: error.to_string() },
        })?;
        Self::start_on(disk, contents, settings, runtime).await
    }

    async fn start_on(
        disk: Disk,
        contents: Contents,
        settings: VoterSettings,
        runtime: Runtime,
    ) -> Result<Self, StartError> {
        let config = raft_group::config(&settings.cluster.name, &settings.timings).map_err(StartError::Settings)?;
        let folder = settings.data_dir.clone();
        let disk_failed = |why: String| StartError::Disk { folder: folder.clone(), why };

        let node = settings.node.as_str().to_owned();
        if let Some(owner) = contents.text(Fact::Node).filter(|owner| *owner != node) {
            let what = format!("belongs to voter {owner:?}, this is {node:?}");
            return Err(StartError::Foreign { folder: folder.clone(), what });
        }
        let uuid = match contents.text(Fact::Uuid) {
            Some(uuid) => uuid,
            None => {
                let uuid = runtime.uuid();
                let writes = vec![
                    Write::Fact(Fact::Uuid, uuid.clone().into_bytes()),
                    Write::Fact(Fact::Node, node.clone().into_bytes()),
                ];
                disk.write(writes).await.map_err(|error| disk_failed(error.to_string()))?;
                uuid
            }
        };
        let identities = Arc::new(Identities::new(
            settings.cluster.clone(),
            node.clone(),
            uuid,
            disk.clone(),
            contents.text(Fact::ClusterId).unwrap_or_default(),
            contents.peers.clone(),
        ));
        let machine = StateMachine::open(disk.clone(), &contents, Arc::clone(&identities))
            .map_err(|error| disk_failed(error.to_string()))?;
        let log =
            LogStore::open(disk, &contents, machine.on_disk()).await.map_err(|error| disk_failed(error.to_string()))?;
        let peers = PeerClients {
            identities: Arc::clone(&identities),
            runtime: runtime.clone(),
            timings: settings.timings.clone(),
        };
        let raft = Raft::new(raft_id(&node), Arc::new(config), peers, log, machine.clone())
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?;
        same_cluster(&machine, &settings).map_err(|what| StartError::Foreign { folder: folder.clone(), what })?;
        initialize(&raft, &settings).await?;

        let shared = Arc::new(Shared {
            identities,
            raft,
            machine,
            runtime: runtime.clone(),
            timings: settings.timings,
            stopped: CancellationToken::new(),
            broken: watch::Sender::new(None),
            changing_voters: Arc::default(),
        });
        let (place, leadership) = watch::channel(None);
        runtime.spawn(run_leader(Arc::clone(&shared), place));
        let ending = Arc::clone(&shared);
        runtime.spawn(async move {
            ending.stopped.cancelled().await;
            drop(ending.raft.shutdown().await);
        });
        Ok(Self { shared, leadership })
    }

    /// To be mounted on the process's internal server.
    #[must_use]
    pub fn service(&self) -> MembershipServer<VoterService> {
        MembershipServer::new(VoterService::new(Arc::clone(&self.shared), self.leadership.clone()))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// This voter's node id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId::new(self.shared.identities.node.as_str())
    }

    /// Whether this voter leads now, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leadership.borrow().is_some()
    }

    /// The voters that this one would not take another for: the replicated state names their identities.
    #[must_use]
    pub fn named_voters(&self) -> BTreeSet<NodeId> {
        self.shared.machine.look(|state| state.voters.keys().map(|id| NodeId::new(id.as_str())).collect())
    }

    /// Returns when this voter cannot go on, with the reason: its disk has failed. The process should end.
    pub async fn broken(&self) -> String {
        let mut broken = self.shared.broken.subscribe();
        loop {
            if let Some(why) = broken.borrow_and_update().clone() {
                return why;
            }
            if broken.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Ends sessions and Raft. What was acknowledged is on disk.
    pub async fn stop(self) {
        self.shared.stopped.cancel();
        drop(self.shared.raft.shutdown().await);
    }
}

impl Drop for Voter {
    fn drop(&mut self) {
        self.shared.stopped.cancel();
    }
}

/// What the state remembers of the cluster must be what the settings say.
fn same_cluster(machine: &StateMachine, settings: &VoterSettings) -> Result<(), String> {
    machine.look(|state| {
        let counts = (state.history.owners.len(), state.matching.owners.len());
        let cluster = &settings.cluster;
        if !state.formed() {
            return Ok(());
        }
        if state.cluster_name != cluster.name {
            return Err(format!("belongs to cluster {:?}, this is {:?}", state.cluster_name, cluster.name));
        }
        if counts != (cluster.history_shards as usize, cluster.matching_shards as usize) {
            return Err(format!(
                "belongs to a cluster of {} history and {} matching shards, configured are {} and {}",
                counts.0, counts.1, cluster.history_shards, cluster.matching_shards
            ));
        }
        Ok(())
    })
}

async fn initialize(raft: &Raft, settings: &VoterSettings) -> Result<(), StartError> {
    if !settings.initial_voters.iter().any(|voter| voter.id == settings.node) {
        return Ok(());
    }
    let peers = settings.initial_voters.iter().map(|voter| {
        let id = voter.id.as_str();
        (raft_id(id), Peer { id: id.to_owned(), address: voter.address.clone() })
    });
    let peers: std::collections::BTreeMap<u64, Peer> = peers.collect();
    match raft.initialize(peers).await {
        // It has been before: the list counts only once.
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(StartError::Raft(error.to_string())),
    }
}

#[cfg(test)]
#[path = "voter_test.rs"]
mod voter_test;
