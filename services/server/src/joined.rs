//! A process as a node of its cluster: the listener for its peers, its vote, its membership.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admin::admin_server;
use cluster::{Membership, NodeId, Ring};
use membership::{JoinError, Member, Voter};
use remote::{Identity, calls_server, internal_server};
use runtime::Runtime;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use crate::operating::Operated;
use crate::services::Services;
use crate::settings::ClusterSettings;

/// Why a process does not become part of its cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Its vote.
    #[error("this node cannot vote: {0}")]
    Voter(#[from] membership::StartError),
    /// The others do not have it, or cannot be found.
    #[error("this node cannot join: {0}")]
    Join(#[from] JoinError),
}

/// A process that is about to become a node: it looks for the others, and does not answer them yet.
pub(crate) struct Joining {
    settings: ClusterSettings,
    listener: TcpListener,
    address: SocketAddr,
    voter: Option<Voter>,
    member: Arc<Member>,
}

/// What makes a process a node.
pub(crate) struct Joined {
    pub(crate) member: Arc<Member>,
    pub(crate) address: SocketAddr,
    voter: Option<Voter>,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    shutdown: CancellationToken,
}

impl Joining {
    /// Votes if it is to, and begins to join; peers will be served on `listener`.
    pub(crate) async fn start(
        mut settings: ClusterSettings,
        listener: TcpListener,
        runtime: &Runtime,
    ) -> Result<Self, ClusterError> {
        let address = listener.local_addr().unwrap_or(settings.internal);
        for advertised in [Some(&mut settings.member.address), settings.voter.as_mut().map(|voter| &mut voter.address)]
        {
            if let Some(advertised) = advertised.filter(|advertised| advertised.is_empty()) {
                *advertised = address.to_string();
            }
        }
        if settings.member.seeds.is_empty() && settings.voter.is_some() {
            settings.member.seeds.push(settings.member.address.clone());
        }
        let voter = match settings.voter.clone() {
            Some(voter) => Some(Voter::start(voter, runtime.clone()).await?),
            None => None,
        };
        let member = Member::start(settings.member.clone(), runtime.clone())?;
        Ok(Self { settings, listener, address, voter, member })
    }

    pub(crate) fn node(&self) -> &NodeId {
        self.member.node()
    }

    /// The rings of the cluster; one of version 0, without owners, until the process has joined.
    pub(crate) fn membership(&self) -> Arc<dyn Membership> {
        Arc::clone(&self.member) as _
    }

    /// Serves peers from now on. The process need not have joined for that.
    pub(crate) fn serve(self, services: &Arc<Services>, runtime: &Runtime) -> Joined {
        let Self { settings, listener, address, voter, member } = self;
        let (membership, me) = (Arc::clone(&member) as Arc<dyn Membership>, Arc::clone(&member));
        let identity = Identity::new(&membership, member.node().clone(), move || me.incarnation());
        let history = services.history.clone().map(|history| history as _);
        let matching = services.matching.clone().map(|matching| matching as _);
        let calls = calls_server(history, matching, identity, runtime.clone(), &settings.remote);
        let operated =
            Operated { services: Arc::downgrade(services), member: Arc::clone(&member), runtime: runtime.clone() };
        let shutdown = CancellationToken::new();
        let serving = internal_server(&settings.remote)
            .add_service(admin_server(Arc::new(operated), runtime.clone()))
            .add_service(calls)
            .add_optional_service(voter.as_ref().map(Voter::service))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.clone().cancelled_owned());
        let serving = runtime.spawn(serving);
        Joined { member, address, voter, serving, shutdown }
    }
}

impl Joined {
    /// Returns once the process has joined: it has a name in the cluster, and no shards yet.
    pub(crate) async fn joined(&self) -> Result<(), ClusterError> {
        Ok(self.member.joined().await?)
    }

    pub(crate) fn node(&self) -> &NodeId {
        self.member.node()
    }

    /// The newest ring that the node knows.
    pub(crate) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.member.ring().borrow())
    }

    /// Whether it has ever joined. Before that the leader takes calls in the node's name for an operator's request.
    pub(crate) fn has_joined(&self) -> bool {
        self.member.incarnation() > 0
    }

    /// From now on the node is given shards.
    pub(crate) async fn take_part(&self) {
        if let Err(error) = self.member.take_part().await {
            tracing::warn!(%error, "this node gets shards once the leader knows that it is ready");
        }
    }

    /// Returns when the node cannot go on, and why.
    pub(crate) async fn failed(&mut self) -> String {
        let broken = async {
            match &self.voter {
                Some(voter) => voter.broken().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            why = broken => why,
            why = self.member.replaced() => why,
            served = &mut self.serving => match served {
                Ok(Ok(())) => "the internal listener has closed".to_owned(),
                Ok(Err(error)) => format!("the internal listener: {error}"),
                Err(error) => format!("the task that serves peers has died: {error}"),
            },
        }
    }

    /// Announces that the node leaves, for at most `leave_timeout`, and stops serving the others.
    pub(crate) async fn leave(self, leave_timeout: Duration, runtime: &Runtime) {
        if self.has_joined() {
            let left = runtime.timeout(leave_timeout, self.member.leave()).await;
            if !matches!(left, Some(Ok(()))) {
                tracing::warn!(?left, "this node could not announce that it leaves: its lease will expire");
            }
        }
        self.member.stop();
        if let Some(voter) = self.voter {
            voter.stop().await;
        }
        self.shutdown.cancel();
        // Peers hold their connections open; their further calls go to other nodes.
        const LAST_ANSWERS: Duration = Duration::from_millis(500);
        if runtime.timeout(LAST_ANSWERS, self.serving).await.is_none() {
            tracing::debug!("peers were still connected");
        }
    }
}
