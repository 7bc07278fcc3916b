//! Raft's messages to other voters.
//!
//! Each peer has its own connection and task, so one that does not answer delays no other. A connection that fails
//! several times running is thrown away, and its name resolved again.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use internal_api::membership::membership_client::MembershipClient;
use internal_api::membership::{RaftMessage, RaftRequest};
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{RaftNetwork, RaftNetworkFactory};
use runtime::Runtime;
use serde::Serialize;
use serde::de::DeserializeOwned;
use settings::MembershipSettings;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::identities::Identities;
use crate::raft_group::{Group, Peer};

/// The largest message of membership. Bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// After so many failures running a connection is replaced.
const MAX_FAILURES: u32 = 3;

/// Makes clients for Raft.
#[derive(Clone)]
pub(crate) struct PeerClients {
    pub(crate) identities: Arc<Identities>,
    pub(crate) runtime: Runtime,
    pub(crate) timings: MembershipSettings,
}

/// Raft's line to one other voter.
pub(crate) struct PeerClient {
    shared: PeerClients,
    target: u64,
    peer: Peer,
    channel: Option<Channel>,
    failures: u32,
    complaint: String,
}

/// How to reach a node's internal server.
///
/// # Errors
/// When the address is invalid.
pub(crate) fn endpoint(address: &str, timings: &MembershipSettings) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| format!("{address}: {error}"))?;
    Ok(endpoint
        .connect_timeout(timings.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(timings.leader_silence)
        .keep_alive_timeout(timings.leader_silence)
        .keep_alive_while_idle(true))
}

/// What went wrong, with its causes.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

enum Trouble {
    /// It may have arrived.
    Lost(String),
    /// There is no point in trying at once again.
    Away(String),
}

type Outcome<T, E> = Result<T, RPCError<u64, Peer, E>>;

impl RaftNetworkFactory<Group> for PeerClients {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> PeerClient {
        PeerClient {
            shared: self.clone(),
            target,
            peer: peer.clone(),
            channel: None,
            failures: 0,
            complaint: String::new(),
        }
    }
}

impl PeerClient {
    async fn send<Q, A, E>(&mut self, message: RaftMessage, request: &Q, ttl: Duration) -> Outcome<A, E>
    where
        Q: Serialize,
        A: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let away = |why: String| RPCError::Unreachable(Unreachable::new(&Failed(why)));
        let payload = serde_json::to_vec(request).map_err(|error| away(error.to_string()))?;
        match self.exchange(message, payload, ttl).await {
            Ok(payload) => {
                self.failures = 0;
                let answer: Result<A, E> = serde_json::from_slice(&payload).map_err(|error| away(error.to_string()))?;
                answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
            }
            Err(trouble) => {
                self.failures += 1;
                if self.failures >= MAX_FAILURES {
                    self.failures = 0;
                    self.channel = None;
                }
                Err(match trouble {
                    Trouble::Lost(why) => RPCError::Network(NetworkError::new(&Failed(why))),
                    Trouble::Away(why) => away(why),
                })
            }
        }
    }

    async fn exchange(&mut self, message: RaftMessage, payload: Vec<u8>, ttl: Duration) -> Result<Vec<u8>, Trouble> {
        let channel = match &self.channel {
            Some(channel) => channel.clone(),
            None => {
                let endpoint = endpoint(&self.peer.address, &self.shared.timings).map_err(Trouble::Away)?;
                self.channel.insert(endpoint.connect_lazy()).clone()
            }
        };
        let request = RaftRequest {
            header: Some(self.shared.identities.header(&self.peer.id)),
            message: message.into(),
            payload: payload.into(),
        };
        let mut client = MembershipClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let answer = self.shared.runtime.timeout(ttl, client.raft(request)).await;
        let reply = match answer {
            None => return Err(Trouble::Lost(format!("voter {} did not answer within {ttl:?}", self.peer.id))),
            Some(Err(status)) if status.code() == Code::Unavailable => return Err(Trouble::Away(whole(&status))),
            Some(Err(status)) => {
                self.complain(&status.message());
                return Err(Trouble::Away(status.message().to_owned()));
            }
            Some(Ok(reply)) => reply.into_inner(),
        };
        if let Err(why) = self.shared.identities.believe(&self.peer.id, &reply).await {
            self.complain(&why);
            return Err(Trouble::Away(why));
        }
        Ok(reply.payload.into())
    }

    /// Says once what stands between this voter and that one.
    fn complain(&mut self, why: &dyn Display) {
        let why = why.to_string();
        if self.complaint != why {
            tracing::warn!(
                peer = self.peer.id,
                address = self.peer.address,
                why,
                "a voter's identity conflicts with this one's"
            );
            self.complaint = why;
        }
    }
}

impl RaftNetwork<Group> for PeerClient {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Group>,
        option: RPCOption,
    ) -> Outcome<AppendEntriesResponse<u64>, RaftError<u64>> {
        self.send(RaftMessage::AppendEntries, &request, option.hard_ttl()).await
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Group>,
        option: RPCOption,
    ) -> Outcome<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>> {
        self.send(RaftMessage::InstallSnapshot, &request, option.hard_ttl()).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Outcome<VoteResponse<u64>, RaftError<u64>> {
        self.send(RaftMessage::Vote, &request, option.hard_ttl()).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.shared.timings.raft_heartbeat))
    }
}
