//! The services of a process behind its frontend: those that it plays itself, and the way to all others.

use std::sync::Arc;
use std::time::Duration;

use calls::{History, Matching};
use cluster::{Membership, NodeId, Ownership, Role, Sharded};
use entities::ShardStats;
use frontend::Directory;
use history::{HistoryService, Neighbours};
use matching::MatchingService;
use remote::{Channels, Router};
use runtime::Runtime;
use settings::RemoteSettings;
use storage::Store;

use crate::ServerSettings;
use crate::server::StartError;

/// How often it is looked whether all shards are handed over.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// History and matching, here and anywhere. Calls go to the owner in the ring; those to this process without
/// serialization.
pub(crate) struct Services {
    pub(crate) history: Option<Arc<HistoryService>>,
    pub(crate) matching: Option<Arc<MatchingService>>,
    pub(crate) any_history: Arc<dyn History>,
    pub(crate) any_matching: Arc<dyn Matching>,
    /// Names of namespaces, for all of them.
    pub(crate) directory: Arc<Directory>,
    pub(crate) store: Store,
}

impl Services {
    /// The roles of the process, of which none serves before [`Services::serve`]. They will own what the rings of
    /// `membership` give to `node`.
    pub(crate) fn new(
        settings: &ServerSettings,
        node: &NodeId,
        membership: &Arc<dyn Membership>,
        store: &Store,
        runtime: &Runtime,
    ) -> Self {
        let directory = Arc::new(Directory::new(Arc::clone(&store.registry), runtime.clone()));
        let remote = settings.cluster.as_ref().map_or_else(RemoteSettings::default, |cluster| cluster.remote.clone());
        let channels = Channels::new(membership, remote.clone(), runtime.clone());
        // The ways to the services come first: each service calls the others by them.
        let any_history = Arc::new(Router::<dyn History>::new(
            membership,
            node.clone(),
            channels.clone(),
            runtime.clone(),
            remote.clone(),
        ));
        let any_matching =
            Arc::new(Router::<dyn Matching>::new(membership, node.clone(), channels, runtime.clone(), remote));
        let own = |service| Ownership { membership: Arc::clone(membership), service, node: node.clone() };
        let history = settings.roles.contains(&Role::History).then(|| {
            let names = Arc::clone(&directory);
            let neighbours = Neighbours {
                matching: Arc::clone(&any_matching) as _,
                peers: Arc::clone(&any_history) as _,
                names: Arc::new(move |id| names.known(id)),
            };
            let (bounds, shards, own) = (settings.history.clone(), settings.shards.clone(), own(Sharded::History));
            let history = HistoryService::new(bounds, shards, own, store.clone(), runtime.clone(), neighbours);
            any_history.serve_here(&(Arc::clone(&history) as _));
            history
        });
        let matching = settings.roles.contains(&Role::Matching).then(|| {
            let (bounds, shards, own) = (settings.matching.clone(), settings.shards.clone(), own(Sharded::Matching));
            let recorder = Arc::clone(&any_history) as _;
            let matching = MatchingService::new(bounds, shards, own, store.clone(), runtime.clone(), recorder);
            any_matching.serve_here(&(Arc::clone(&matching) as _));
            matching
        });
        Self { history, matching, any_history, any_matching, directory, store: store.clone() }
    }

    /// Opens shards as the ring gives them to this node: from now on tasks are handed out.
    pub(crate) fn serve(&self) {
        if let Some(matching) = &self.matching {
            matching.serve();
        }
        if let Some(history) = &self.history {
            history.serve();
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

    /// Writes what is dirty to the tables while serving on, so that the next owner of the shards has little to read.
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
