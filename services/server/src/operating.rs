//! Operators' calls to this process: the one implementation of [`admin::Process`].

use std::sync::{Arc, Weak};

use admin::{LeaderReport, SessionReport, ShardReport, VerifiedPage, VoterReport};
use async_trait::async_trait;
use bytes::Bytes;
use calls::{CallContext, DumpWorkflow, ServiceError, ServiceResult};
use cluster::{Membership, NodeId, Ring, Sharded};
use entities::ShardStats;
use ids::{NamespaceId, WorkflowId};
use membership::{Admin, CallError, Member, VoterInfo};
use runtime::Runtime;

use crate::services::Services;
use crate::verifying;

/// This process, to its operators. Holds nothing that would keep it from ending.
pub(crate) struct Operated {
    pub(crate) services: Weak<Services>,
    pub(crate) member: Arc<Member>,
    pub(crate) runtime: Runtime,
}

impl Operated {
    fn services(&self) -> ServiceResult<Arc<Services>> {
        self.services.upgrade().ok_or_else(|| ServiceError::Unavailable("this process is stopping".to_owned()))
    }

    fn admin(&self) -> Admin {
        self.member.admin()
    }

    fn report(&self, service: Sharded, shard: u32, stats: &ShardStats) -> ShardReport {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let millis = |age: std::time::Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        ShardReport {
            service,
            shard,
            epoch: stats.epoch.0,
            last_position: stats.last.0,
            log_groups: stats.log_depth,
            log_bytes: stats.log_bytes,
            dirty_entities: count(stats.dirty_entities),
            dirty_bytes: count(stats.dirty_bytes),
            loaded_entities: count(stats.loaded_entities),
            loaded_bytes: count(stats.loaded_bytes),
            lag_ms: stats.log_since.map(|since| millis(self.runtime.now().since(since))),
        }
    }
}

fn refused(error: CallError) -> ServiceError {
    match error {
        CallError::Refused(why) => ServiceError::FailedPrecondition(why),
        CallError::UnknownNode(why) => ServiceError::NotFound(why),
        CallError::Unavailable(why) => ServiceError::Unavailable(why),
    }
}

fn voter_reports(voters: Vec<VoterInfo>, leader: &str) -> Vec<VoterReport> {
    let report = |voter: VoterInfo| VoterReport {
        leader: voter.id == leader,
        id: voter.id,
        address: voter.address,
        voting: voter.voting,
        matched: voter.matched,
    };
    voters.into_iter().map(report).collect()
}

#[async_trait]
impl admin::Process for Operated {
    fn node(&self) -> NodeId {
        self.member.node().clone()
    }

    fn incarnation(&self) -> u64 {
        self.member.incarnation()
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.member.ring().borrow())
    }

    async fn leader(&self) -> ServiceResult<LeaderReport> {
        let members = self.admin().members().await.map_err(refused)?;
        let session = |node: membership::NodeInfo| {
            let clock_offset_ms = node.clock_offset_ms.map(|(offset, _)| offset);
            (node.id, SessionReport { connected: node.connected, clock_offset_ms })
        };
        Ok(LeaderReport {
            voters: voter_reports(members.voters, &members.leader),
            term: members.term,
            sessions: members.nodes.into_iter().map(session).collect(),
        })
    }

    fn local_shards(&self) -> Vec<ShardReport> {
        let Ok(services) = self.services() else { return Vec::new() };
        let of = |service| {
            let stats = services.stats(service).into_iter();
            stats.map(move |(number, stats)| self.report(service, number, &stats)).collect::<Vec<_>>()
        };
        [of(Sharded::History), of(Sharded::Matching)].concat()
    }

    async fn flush_shards(&self) -> ServiceResult<()> {
        self.services()?.flush().await;
        Ok(())
    }

    async fn verify(&self, from: Option<Bytes>) -> ServiceResult<VerifiedPage> {
        let services = self.services()?;
        let verified = verifying::next_page(&services.store, from, &self.runtime).await;
        verified.map_err(|error| ServiceError::Unavailable(error.to_string()))
    }

    async fn move_shard(&self, service: Sharded, shard: u32, to: Option<NodeId>) -> ServiceResult<u64> {
        let moved = self.admin().move_shard(service, shard, to.as_ref()).await;
        moved.map(|ring| ring.version).map_err(refused)
    }

    async fn drain_node(&self, node: NodeId) -> ServiceResult<u64> {
        self.admin().drain_node(&node).await.map(|ring| ring.version).map_err(refused)
    }

    async fn add_voter(&self, id: String, address: String) -> ServiceResult<Vec<VoterReport>> {
        let voters = self.admin().add_voter(&NodeId::new(id), &address).await.map_err(refused)?;
        Ok(voter_reports(voters, ""))
    }

    async fn remove_voter(&self, id: String) -> ServiceResult<Vec<VoterReport>> {
        let voters = self.admin().remove_voter(&NodeId::new(id)).await.map_err(refused)?;
        Ok(voter_reports(voters, ""))
    }

    async fn dump_workflow(&self, namespace: NamespaceId, workflow_id: WorkflowId) -> ServiceResult<String> {
        self.services()?
            .any_history
            .dump_workflow(&CallContext::internal(&namespace), DumpWorkflow { workflow_id: workflow_id.to_string() })
            .await
    }
}
