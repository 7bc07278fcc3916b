//! The other end, for `outlast admin`.

use std::time::Duration;

use bytes::Bytes;
use cluster::Sharded;
use internal_api::admin as wire;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::endpoint::LARGEST_MESSAGE;
use crate::fan_out::{causes, message_of};
use crate::wire::{members, ring_view, service, shard_rows, unreachable, voter};
use crate::{Flushed, Members, RingView, ShardRows, VerifiedPage, VoterReport};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminError {
    /// Nothing answers there, or not as a node of this release does.
    Unreachable(String),
    /// The node refused, or could not.
    Refused(String),
}

impl std::fmt::Display for AdminError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Unreachable(why) | Self::Refused(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for AdminError {}

/// Asks one node.
#[derive(Clone)]
pub struct AdminClient {
    node: wire::admin_client::AdminClient<Channel>,
}

impl AdminClient {
    /// Connects to the internal address of a node, `host:port`. No call will take longer than `within`.
    ///
    /// # Errors
    /// When the address is invalid or nothing answers there.
    pub async fn connect(address: &str, within: Duration) -> Result<Self, AdminError> {
        let unreachable = |why: String| AdminError::Unreachable(format!("cannot reach a node at {address}: {why}"));
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).map_err(|error| unreachable(error.to_string()))?;
        let connecting = endpoint.connect_timeout(within).timeout(within).connect().await;
        let channel = connecting.map_err(|error| unreachable(causes(&error)))?;
        let node = wire::admin_client::AdminClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE);
        Ok(Self { node })
    }

    /// Nodes and voters.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn members(&mut self) -> Result<Members, AdminError> {
        Ok(members(answer(self.node.list_members(wire::ListMembersRequest {}).await)?))
    }

    /// The ring.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn ring(&mut self) -> Result<RingView, AdminError> {
        Ok(ring_view(answer(self.node.get_ring(wire::GetRingRequest {}).await)?))
    }

    /// Shards of the whole cluster, or of the called node only; of one service or of both.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn shards(&mut self, only: Option<Sharded>, local_only: bool) -> Result<ShardRows, AdminError> {
        let service = only.map_or(wire::Service::Unspecified, service) as i32;
        let request = wire::ListShardsRequest { service, local_only, callee: None };
        Ok(shard_rows(answer(self.node.list_shards(request).await)?))
    }

    /// Makes all nodes, or the called node only, write everything to their tables.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn flush(&mut self, local_only: bool) -> Result<Flushed, AdminError> {
        let of = answer(self.node.flush_shards(wire::FlushShardsRequest { local_only, callee: None }).await)?;
        Ok(Flushed { flushed: of.flushed, unreachable: of.unreachable.into_iter().map(unreachable).collect() })
    }

    /// Has the node look through the next part of what is stored.
    ///
    /// # Errors
    /// When the node does not answer, or the store cannot be read.
    pub async fn verify(&mut self, from: Option<Bytes>) -> Result<VerifiedPage, AdminError> {
        let of = answer(self.node.verify(wire::VerifyRequest { from: from.unwrap_or_default() }).await)?;
        let wire::VerifyResponse { partitions, rows, registry_entries, problems, next } = of;
        let next = Some(next).filter(|next| !next.is_empty());
        Ok(VerifiedPage { partitions, rows, entries: registry_entries, problems, next })
    }

    /// Pins a shard to a node; `None` undoes an earlier pin. Returns a version of the ring that shows it.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn move_shard(&mut self, of: Sharded, shard: u32, to: Option<String>) -> Result<u64, AdminError> {
        let request = wire::MoveShardRequest { service: service(of) as i32, shard, node: to.unwrap_or_default() };
        Ok(answer(self.node.move_shard(request).await)?.ring_version)
    }

    /// Takes all shards from a node. Returns a version of the ring that shows it.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn drain(&mut self, node: String) -> Result<u64, AdminError> {
        Ok(answer(self.node.drain_node(wire::DrainNodeRequest { node }).await)?.ring_version)
    }

    /// Makes a node of the role membership a voter. Returns the voters.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn add_voter(&mut self, id: String, address: String) -> Result<Vec<VoterReport>, AdminError> {
        let of = answer(self.node.add_voter(wire::AddVoterRequest { id, address }).await)?;
        Ok(of.voters.into_iter().map(voter).collect())
    }

    /// Takes a voter's vote. Returns the voters.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn remove_voter(&mut self, id: String) -> Result<Vec<VoterReport>, AdminError> {
        let of = answer(self.node.remove_voter(wire::RemoveVoterRequest { id }).await)?;
        Ok(of.voters.into_iter().map(voter).collect())
    }

    /// A workflow's state and changes as text.
    ///
    /// # Errors
    /// When there is no such workflow, or its owner cannot be reached.
    pub async fn dump_workflow(&mut self, namespace_id: String, workflow_id: String) -> Result<String, AdminError> {
        Ok(answer(self.node.dump_workflow(wire::DumpWorkflowRequest { namespace_id, workflow_id }).await)?.text)
    }
}

fn answer<T>(result: Result<tonic::Response<T>, Status>) -> Result<T, AdminError> {
    result.map(tonic::Response::into_inner).map_err(|status| match status.code() {
        tonic::Code::Unavailable | tonic::Code::Cancelled | tonic::Code::Unknown if status.message().is_empty() => {
            AdminError::Unreachable("the connection to the node has broken".to_owned())
        }
        _ => AdminError::Refused(message_of(&status)),
    })
}
