//! What the admin API needs of the process that it is served by.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use calls::ServiceResult;
use cluster::{NodeId, Ring, Sharded};
use ids::{NamespaceId, WorkflowId};

use crate::{LeaderReport, ShardReport, VerifiedPage, VoterReport};

/// A process, as far as operators have to do with it.
#[async_trait]
pub trait Process: Send + Sync + 'static {
    /// Which node this is.
    fn node(&self) -> NodeId;

    /// Distinguishes this process from others under the same node id; 0 before it has joined.
    fn incarnation(&self) -> u64;

    /// The newest ring that it knows.
    fn ring(&self) -> Arc<Ring>;

    /// What the leader of the voters knows. One process without membership has no leader and no voters.
    ///
    /// # Errors
    /// Unavailable when no leader answers.
    async fn leader(&self) -> ServiceResult<LeaderReport>;

    /// The shards that are served here, of both services.
    fn local_shards(&self) -> Vec<ShardReport>;

    /// Writes everything of the shards that are served here to their tables; they go on serving.
    ///
    /// # Errors
    /// When the store does not take it.
    async fn flush_shards(&self) -> ServiceResult<()>;

    /// Holds the next part of what is stored against its checksums, and against what it should look like: from the beginning, or
    /// from where a page before ended.
    ///
    /// # Errors
    /// When the store cannot be read now.
    async fn verify(&self, from: Option<Bytes>) -> ServiceResult<VerifiedPage>;

    /// Gives a shard to a node; to `None` undoes an earlier move. Returns a version of the ring that shows it.
    ///
    /// # Errors
    /// When the node cannot have it, or no leader answers.
    async fn move_shard(&self, service: Sharded, shard: u32, to: Option<NodeId>) -> ServiceResult<u64>;

    /// Takes all shards from a node. Returns a version of the ring that shows it.
    ///
    /// # Errors
    /// When there is no such node, or no leader answers.
    async fn drain_node(&self, node: NodeId) -> ServiceResult<u64>;

    /// Makes a node of the role membership a voter. Returns the voters.
    ///
    /// # Errors
    /// When the leader refuses, or none answers.
    async fn add_voter(&self, id: String, address: String) -> ServiceResult<Vec<VoterReport>>;

    /// Takes a voter's vote. Returns the voters.
    ///
    /// # Errors
    /// When the leader refuses, or none answers.
    async fn remove_voter(&self, id: String) -> ServiceResult<Vec<VoterReport>>;

    /// A workflow's state and changes as text, from wherever it is.
    ///
    /// # Errors
    /// As of [`calls::History::dump_workflow`].
    async fn dump_workflow(&self, namespace: NamespaceId, workflow_id: WorkflowId) -> ServiceResult<String>;
}
