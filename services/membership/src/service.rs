//! What a voter answers.

use std::sync::Arc;

use async_trait::async_trait;
use cluster::Ring;
use internal_api::membership::membership_server::Membership;
use internal_api::membership::{
    AddVoterRequest, Change, ChangeRequest, ConfirmRequest, FindReply, FindRequest, FromNode, IdentifyReply,
    IdentifyRequest, MembersReply, MembersRequest, MoveShardRequest, RaftMessage, RaftReply, RaftRequest,
    RefusalReason, Refused, RemoveVoterRequest, RingReply, ToNode, VoterReply, to_node,
};
use openraft::error::{CheckIsLeaderError, RaftError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::command::Command;
use crate::leadership::Leadership;
use crate::operating;
use crate::session::{self, leader_address, not_leader, now_ms, voter_addresses};
use crate::voter::Shared;
use crate::wire::{refused, ring_reply};

/// A voter's tonic service.
pub struct VoterService {
    shared: Arc<Shared>,
    leadership: watch::Receiver<Option<Leadership>>,
}

type Answer<T> = Result<Response<T>, Status>;

impl VoterService {
    pub(crate) fn new(shared: Arc<Shared>, leadership: watch::Receiver<Option<Leadership>>) -> Self {
        Self { shared, leadership }
    }

    fn leadership(&self) -> Result<Leadership, Refused> {
        self.leadership.borrow().clone().ok_or_else(|| not_leader(&self.shared))
    }

    fn ring(&self) -> (Arc<Ring>, Vec<String>) {
        let ring = self.shared.machine.ring().borrow().clone();
        (ring, voter_addresses(&self.shared))
    }

    /// Proposes, and answers with a ring that shows it.
    async fn carry_out(&self, command: Command) -> RingReply {
        let done = async {
            self.leadership()?.propose(command).await?;
            Ok(self.ring())
        };
        ring_reply(done.await)
    }

    async fn confirmed(&self) -> Result<(Arc<Ring>, Vec<String>), Refused> {
        match self.shared.raft.ensure_linearizable().await {
            Ok(_) if self.shared.machine.look(|state| state.formed()) => Ok(self.ring()),
            Ok(_) => Err(refused(RefusalReason::Unavailable, "the cluster has not been formed yet")),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_))) => Err(not_leader(&self.shared)),
            Err(error) => Err(refused(RefusalReason::Unavailable, error.to_string())),
        }
    }

    /// Changes the group of voters, one change at a time. What was begun goes on when the caller does not wait any more:
    /// half a change needs the majorities of two groups.
    async fn change_voters<F>(&self, change: impl FnOnce(Arc<Shared>, Leadership) -> F) -> VoterReply
    where
        F: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        let shared = &self.shared;
        let unchanging = Arc::clone(&shared.changing_voters).lock_owned().await;
        let done = match self.leadership() {
            Ok(leadership) => {
                let changing = change(Arc::clone(shared), leadership);
                let whole = shared.runtime.spawn(async move { (changing.await, unchanging).0 });
                let lost = |_| Err(refused(RefusalReason::Unavailable, "the change of voters was not finished"));
                whole.await.unwrap_or_else(lost)
            }
            Err(refused) => Err(refused),
        };
        operating::voter_reply(shared, done)
    }

    async fn raft_message(&self, message: RaftMessage, payload: &[u8]) -> Result<Vec<u8>, Status> {
        let raft = &self.shared.raft;
        match message {
            RaftMessage::AppendEntries => encode(&raft.append_entries(decode(payload)?).await),
            RaftMessage::Vote => encode(&raft.vote(decode(payload)?).await),
            RaftMessage::InstallSnapshot => encode(&raft.install_snapshot(decode(payload)?).await),
            RaftMessage::Unspecified => Err(Status::invalid_argument("an unknown raft message")),
        }
    }
}

fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Status> {
    serde_json::from_slice(payload).map_err(|error| Status::invalid_argument(format!("a raft message: {error}")))
}

fn encode<T: Serialize>(answer: &T) -> Result<Vec<u8>, Status> {
    serde_json::to_vec(answer).map_err(|error| Status::internal(format!("a raft answer: {error}")))
}

#[async_trait]
impl Membership for VoterService {
    async fn raft(&self, request: Request<RaftRequest>) -> Answer<RaftReply> {
        let request = request.into_inner();
        let header = request.header.clone().ok_or_else(|| Status::invalid_argument("a raft message without header"))?;
        if let Err(why) = self.shared.identities.admit(&header).await {
            tracing::debug!(why, "rejected a voter");
            return Err(Status::failed_precondition(why));
        }
        let payload = self.raft_message(request.message(), &request.payload).await?;
        let identities = &self.shared.identities;
        let reply =
            RaftReply { cluster_id: identities.cluster_id(), uuid: identities.uuid.clone(), payload: payload.into() };
        Ok(Response::new(reply))
    }

    async fn find(&self, _request: Request<FindRequest>) -> Answer<FindReply> {
        let leading = self.leadership.borrow().is_some();
        let leader_address = leader_address(&self.shared);
        Ok(Response::new(FindReply { leading, leader_address, now_ms: now_ms(&self.shared.runtime) }))
    }

    async fn identify(&self, _request: Request<IdentifyRequest>) -> Answer<IdentifyReply> {
        let identities = &self.shared.identities;
        Ok(Response::new(IdentifyReply {
            cluster_name: identities.cluster.name.clone(),
            cluster_id: identities.cluster_id(),
            history_shards: identities.cluster.history_shards,
            matching_shards: identities.cluster.matching_shards,
            voter: identities.node.clone(),
            uuid: identities.uuid.clone(),
        }))
    }

    type SessionStream = ReceiverStream<Result<ToNode, Status>>;

    async fn session(&self, request: Request<Streaming<FromNode>>) -> Answer<Self::SessionStream> {
        let (out, stream) = mpsc::channel(16);
        match self.leadership() {
            Ok(leadership) => {
                let shared = Arc::clone(&self.shared);
                let serving = session::serve(shared, leadership, request.into_inner(), out);
                self.shared.runtime.spawn(serving);
            }
            Err(refused) => {
                let message = Some(to_node::Message::Refused(refused));
                drop(out.send(Ok(ToNode { message })).await);
            }
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn confirm(&self, _request: Request<ConfirmRequest>) -> Answer<RingReply> {
        Ok(Response::new(ring_reply(self.confirmed().await)))
    }

    async fn change(&self, request: Request<ChangeRequest>) -> Answer<RingReply> {
        let request = request.into_inner();
        let (change, node, incarnation) = (request.change(), request.node, request.incarnation);
        let command = match change {
            Change::Up => Command::Up { node, incarnation },
            Change::Drain => Command::Drain { node, incarnation: Some(incarnation).filter(|number| *number > 0) },
            Change::Remove => Command::Remove { node, incarnation },
            Change::Unspecified => return Err(Status::invalid_argument("an unknown change")),
        };
        Ok(Response::new(self.carry_out(command).await))
    }

    async fn members(&self, _request: Request<MembersRequest>) -> Answer<MembersReply> {
        let reply = match (self.confirmed().await, self.leadership()) {
            (Ok((ring, voters)), Ok(leadership)) => operating::members(&self.shared, &leadership, &ring, voters),
            (Err(refused), _) | (_, Err(refused)) => MembersReply { refused: Some(refused), ..Default::default() },
        };
        Ok(Response::new(reply))
    }

    async fn move_shard(&self, request: Request<MoveShardRequest>) -> Answer<RingReply> {
        let MoveShardRequest { service, shard, node } = request.into_inner();
        let node = Some(node).filter(|node| !node.is_empty());
        Ok(Response::new(self.carry_out(Command::Pin { service, shard, node }).await))
    }

    async fn add_voter(&self, request: Request<AddVoterRequest>) -> Answer<VoterReply> {
        let AddVoterRequest { id, address } = request.into_inner();
        let add = |shared: Arc<Shared>, leadership| async move {
            operating::add_voter(&shared, &leadership, id, address).await
        };
        Ok(Response::new(self.change_voters(add).await))
    }

    async fn remove_voter(&self, request: Request<RemoveVoterRequest>) -> Answer<VoterReply> {
        let id = request.into_inner().id;
        let remove =
            |shared: Arc<Shared>, leadership| async move { operating::remove_voter(&shared, &leadership, id).await };
        Ok(Response::new(self.change_voters(remove).await))
    }
}
