//! The services of a process behind its frontend: those that it plays itself, and the way to all others.

use std::sync::Arc;
use std::time::Duration;

use calls::{History, Matching};
use cluster::{Membership, NodeId, Ownership, Role, Sharded};
use entities::ShardStats;
use history::HistoryService;
use matching::MatchingService;
use remote::{Channels, Router};
use runtime::Runtime;
use settings::RemoteSettings;
use storage::Store;

use crate::ServerSettings;
use crate::server::StartError;

/// How often it is looked whether all shards are handed over.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// History and matching, here and anywhere. Calls go to whoever the ring says; those to this process without
/// serialization.
pub(crate) struct Services {
    pub(crate) history: Option<Arc<HistoryService>>,
    pub(crate) matching: Option<Arc<MatchingService>>,
    pub(crate) any_history: Arc<dyn History>,
    pub(crate) any_matching: Arc<dyn Matching>,
    pub(crate) store: Store,
}

impl Services {
    /// Opens the roles of the process. They own what the rings of `membership` give to `node`.
    pub(crate) fn open(
        settings: &ServerSettings,
        node: &NodeId,
        membership: &Arc<dyn Membership>,
        store: &Store,
        runtime: &Runtime,
    ) -> Self {
        let own = |service| Ownership { membership: Arc::clone(membership), service, node: node.clone() };
        let history = settings.roles.contains(&Role::History).then(|| {
            let (bounds, shards) = (settings.history.clone(), settings.shards.clone());
            HistoryService::open(bounds, shards, own(Sharded::History), store.clone(), runtime.clone())
        });
        let matching = settings.roles.contains(&Role::Matching).then(|| {
            let (bounds, shards) = (settings.matching.clone(), settings.shards.clone());
            MatchingService::open(bounds, shards, own(Sharded::Matching), store.clone(), runtime.clone())
        });
        let remote = settings.cluster.as_ref().map_or_else(RemoteSettings::default, |cluster| cluster.remote.clone());
        let channels = Channels::new(membership, remote.clone(), runtime.clone());
        let any_history: Arc<dyn History> = Arc::new(Router::<dyn History>::new(
            membership,
            node.clone(),
            history.clone().map(|history| history as _),
            channels.clone(),
            runtime.clone(),
            remote.clone(),
        ));
        let any_matching: Arc<dyn Matching> = Arc::new(Router::<dyn Matching>::new(
            membership,
            node.clone(),
            matching.clone().map(|matching| matching as _),
            channels,
            runtime.clone(),
            remote,
        ));
        Self { history, matching, any_history, any_matching, store: store.clone() }
    }

    /// Acquaints the services with each other: from now on tasks are handed out.
    pub(crate) fn connect(&self) {
        if let Some(matching) = &self.matching {
            matching.connect(Arc::clone(&self.any_history));
        }
        if let Some(history) = &self.history {
            history.connect(Arc::clone(&self.any_matching), Arc::clone(&self.any_history));
        }
    }

    /// Waits until all shards of this node are open.
    pub(crate) async fn settle(&self) -> Result<(), StartError> {
        let of_history = match &self.history {
            Some(history) => history.settled().await.map_err(StartError::History),
            None => Ok(()),
        };
        if let Some(matching) = &self.matching {
            matching.settled().await.map_err(StartError::Matching)?;
        }
        of_history
    }

    /// Writes what is dirty to the tables while serving on, so that whoever takes the shards over has little to read.
    pub(crate) async fn flush(&self) {
        if let Some(history) = &self.history {
            history.flush().await;
        }
        if let Some(matching) = &self.matching {
            matching.flush().await;
        }
    }

    /// Returns once no shard is open here.
    pub(crate) async fn until_handed_over(&self, runtime: &Runtime) {
        while !self.stats(Sharded::History).is_empty() || !self.stats(Sharded::Matching).is_empty() {
            runtime.sleep(POLL_INTERVAL).await;
        }
    }

    /// What the open shards of a service look like, by number.
    pub(crate) fn stats(&self, service: Sharded) -> Vec<(u32, ShardStats)> {
        match service {
            Sharded::History => self.history.as_ref().map(|history| history.stats()),
            Sharded::Matching => self.matching.as_ref().map(|matching| matching.stats()),
        }
        .unwrap_or_default()
    }

    /// How many of the shards that the ring gives to this node are not open, of the roles that it plays.
    pub(crate) fn unserved(&self, service: Sharded) -> Option<usize> {
        match service {
            Sharded::History => self.history.as_ref().map(|history| history.unserved()),
            Sharded::Matching => self.matching.as_ref().map(|matching| matching.unserved()),
        }
    }

    /// Writes everything to the tables and stops, both services at once.
    pub(crate) async fn close(&self) {
        let matching = async {
            if let Some(matching) = &self.matching {
                matching.close().await;
            }
        };
        let history = async {
            if let Some(history) = &self.history {
                history.close().await;
            }
        };
        tokio::join!(matching, history);
    }

    /// Stops as a crash would, both services at once. May follow a `close` that takes too long.
    pub(crate) async fn abandon(&self) {
        let matching = async {
            if let Some(matching) = &self.matching {
                matching.abandon().await;
            }
        };
        let history = async {
            if let Some(history) = &self.history {
                history.abandon().await;
            }
        };
        tokio::join!(matching, history);
    }
}
