//! The server side: each call answered by the process, and by the others where it is about all nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::{NodeId, Ring, Sharded};
use ids::{NamespaceId, WorkflowId};
use internal_api::admin as wire;
use internal_api::admin::admin_server::{Admin, AdminServer};
use internal_api::calls::Callee;
use runtime::Runtime;
use tonic::{Request, Response, Status};

use crate::fan_out::{self, FLUSH_TIMEOUT, LIST_TIMEOUT, Peer};
use crate::status::status;
use crate::wire::{members_response, ring_response, served, service, sharded, voter_message};
use crate::{Process, VerifiedPage, VoterReport};

/// One message. A workflow's dump is the largest: its history may have 50 MiB, and text takes more.
pub(crate) const LARGEST_MESSAGE: usize = 512 << 20;

/// Answers operators, and other nodes on their behalf.
pub struct AdminService {
    process: Arc<dyn Process>,
    runtime: Runtime,
}

/// The service to add to the internal listener of a node.
pub fn admin_server(process: Arc<dyn Process>, runtime: Runtime) -> AdminServer<AdminService> {
    AdminServer::new(AdminService { process, runtime }).max_encoding_message_size(LARGEST_MESSAGE)
}

type Answer<T> = Result<Response<T>, Status>;

impl AdminService {
    /// Whether a call is meant for this process. `outlast admin` means the process at the address.
    fn admit(&self, callee: Option<Callee>) -> Result<(), Status> {
        let (node, incarnation) = (self.process.node(), self.process.incarnation());
        let cluster = &self.process.ring().cluster_id;
        let is_this = |callee: Callee| {
            callee.cluster_id == *cluster && callee.node == node.as_str() && callee.incarnation == incarnation
        };
        if callee.is_none_or(is_this) {
            return Ok(());
        }
        let here = format!("another process is there: incarnation {incarnation} of node {node} of cluster {cluster:?}");
        Err(Status::failed_precondition(here))
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn list_members(&self, _: Request<wire::ListMembersRequest>) -> Answer<wire::ListMembersResponse> {
        let leader = self.process.leader().await.map_err(|error| error.to_string());
        Ok(Response::new(members_response(&self.process.ring(), leader)))
    }

    async fn get_ring(&self, _: Request<wire::GetRingRequest>) -> Answer<wire::GetRingResponse> {
        Ok(Response::new(ring_response(&self.process.ring())))
    }

    async fn list_shards(&self, request: Request<wire::ListShardsRequest>) -> Answer<wire::ListShardsResponse> {
        let wire::ListShardsRequest { service, local_only, callee } = request.into_inner();
        self.admit(callee)?;
        let (ring, own) = (self.process.ring(), self.process.node());
        let mut found: Vec<wire::Shard> =
            self.process.local_shards().iter().map(|report| served(own.as_str(), report)).collect();
        let mut unreachable = Vec::new();
        if !local_only {
            let call = |mut node: Peer, callee| async move {
                node.list_shards(wire::ListShardsRequest { service, local_only: true, callee: Some(callee) }).await
            };
            let answers = fan_out::call_all(&ring, &own, &self.runtime, LIST_TIMEOUT, call).await;
            unreachable = fan_out::unreachable(&answers);
            for (node, answer) in answers {
                let shards = answer.into_iter().flat_map(|answer: wire::ListShardsResponse| answer.shards);
                // A node speaks for itself only, whatever it says.
                found.extend(shards.filter(|shard| shard.serving.as_ref().is_some_and(|serving| serving.node == node)));
            }
        }
        let wanted = |of: Sharded| sharded(service).is_none_or(|only| only == of);
        let shards = rows(&ring, found, !local_only).into_iter();
        let shards = shards.filter(|row| sharded(row.service).is_some_and(wanted)).collect();
        Ok(Response::new(wire::ListShardsResponse { ring_version: ring.version, shards, unreachable }))
    }

    async fn flush_shards(&self, request: Request<wire::FlushShardsRequest>) -> Answer<wire::FlushShardsResponse> {
        let wire::FlushShardsRequest { local_only, callee } = request.into_inner();
        self.admit(callee)?;
        let (ring, own) = (self.process.ring(), self.process.node());
        let others = async {
            if local_only {
                return Vec::new();
            }
            let call = |mut node: Peer, callee| async move {
                node.flush_shards(wire::FlushShardsRequest { local_only: true, callee: Some(callee) }).await
            };
            fan_out::call_all(&ring, &own, &self.runtime, FLUSH_TIMEOUT, call).await
        };
        let (here, mut answers) = futures::join!(self.process.flush_shards(), others);
        let here = here.map(|()| wire::FlushShardsResponse::default()).map_err(|error| error.to_string());
        answers.push((own.to_string(), here));
        let flushed = answers.iter().filter(|(_, answer)| answer.as_ref().is_ok_and(|of| of.unreachable.is_empty()));
        let mut flushed: Vec<String> = flushed.map(|(node, _)| node.clone()).collect();
        flushed.sort();
        let mut unreachable = fan_out::unreachable(&answers);
        // A node that could not flush says so of itself.
        unreachable.extend(answers.into_iter().filter_map(|(_, answer)| answer.ok()).flat_map(|of| of.unreachable));
        Ok(Response::new(wire::FlushShardsResponse { flushed, unreachable }))
    }

    async fn verify(&self, request: Request<wire::VerifyRequest>) -> Answer<wire::VerifyResponse> {
        let from = Some(request.into_inner().from).filter(|from| !from.is_empty());
        let verified = self.process.verify(from).await.map_err(|error| status(&error))?;
        let VerifiedPage { partitions, rows, entries, problems, next } = verified;
        let next = next.unwrap_or_default();
        Ok(Response::new(wire::VerifyResponse { partitions, rows, registry_entries: entries, problems, next }))
    }

    async fn move_shard(&self, request: Request<wire::MoveShardRequest>) -> Answer<wire::RingChange> {
        let wire::MoveShardRequest { service, shard, node } = request.into_inner();
        let Some(service) = sharded(service) else {
            return Err(Status::invalid_argument("service is not set, history and matching are allowed"));
        };
        let ring = self.process.ring();
        let shards = ring.shards(service).len();
        if shard as usize >= shards {
            let last = shards.saturating_sub(1);
            return Err(Status::invalid_argument(format!("shard is {shard}, 0 to {last} are allowed")));
        }
        let to = (!node.is_empty()).then(|| NodeId::new(node));
        if let Some(to) = &to {
            known_node(&ring, to)?;
        }
        change(self.process.move_shard(service, shard, to).await)
    }

    async fn drain_node(&self, request: Request<wire::DrainNodeRequest>) -> Answer<wire::RingChange> {
        let node = NodeId::new(request.into_inner().node);
        known_node(&self.process.ring(), &node)?;
        change(self.process.drain_node(node).await)
    }

    async fn add_voter(&self, request: Request<wire::AddVoterRequest>) -> Answer<wire::VotersResponse> {
        let wire::AddVoterRequest { id, address } = request.into_inner();
        if id.is_empty() || address.is_empty() {
            return Err(Status::invalid_argument("id or address is not set, both are needed"));
        }
        voters(self.process.add_voter(id, address).await)
    }

    async fn remove_voter(&self, request: Request<wire::RemoveVoterRequest>) -> Answer<wire::VotersResponse> {
        let id = request.into_inner().id;
        if id.is_empty() {
            return Err(Status::invalid_argument("id is not set, it is needed"));
        }
        voters(self.process.remove_voter(id).await)
    }

    async fn dump_workflow(&self, request: Request<wire::DumpWorkflowRequest>) -> Answer<wire::DumpWorkflowResponse> {
        let wire::DumpWorkflowRequest { namespace_id, workflow_id } = request.into_inner();
        if namespace_id.is_empty() || workflow_id.is_empty() {
            return Err(Status::invalid_argument("namespace_id or workflow_id is not set, both are needed"));
        }
        let (namespace, workflow) = (NamespaceId::from(namespace_id.as_str()), WorkflowId::from(workflow_id.as_str()));
        let dump = self.process.dump_workflow(namespace, workflow).await;
        let text = dump.map_err(|error| status(&error))?;
        Ok(Response::new(wire::DumpWorkflowResponse { text }))
    }
}

fn known_node(ring: &Ring, node: &NodeId) -> Result<(), Status> {
    if ring.nodes.contains_key(node) {
        return Ok(());
    }
    let known: Vec<&str> = ring.nodes.keys().map(NodeId::as_str).collect();
    Err(Status::not_found(format!("no node is called {node:?}, there are {}", known.join(", "), node = node.as_str())))
}

fn change(result: calls::ServiceResult<u64>) -> Answer<wire::RingChange> {
    let ring_version = result.map_err(|error| status(&error))?;
    Ok(Response::new(wire::RingChange { ring_version }))
}

fn voters(result: calls::ServiceResult<Vec<VoterReport>>) -> Answer<wire::VotersResponse> {
    let voters = result.map_err(|error| status(&error))?.into_iter().map(voter_message).collect();
    Ok(Response::new(wire::VotersResponse { voters }))
}

/// Rows with their owners, by service and number: one for each node that serves a shard, and, if `all`, one for each shard
/// that no node serves.
fn rows(ring: &Ring, served: Vec<wire::Shard>, all: bool) -> Vec<wire::Shard> {
    let mut by_shard: BTreeMap<(i32, u32), Vec<wire::Shard>> = BTreeMap::new();
    for of in [Sharded::History, Sharded::Matching].into_iter().filter(|_| all) {
        for shard in (0..).take(ring.shards(of).len()) {
            by_shard.entry((service(of) as i32, shard)).or_default();
        }
    }
    for row in served {
        by_shard.entry((row.service, row.shard)).or_default().push(row);
    }
    let rows = by_shard.into_iter().flat_map(|((service, shard), mut rows)| {
        if rows.is_empty() {
            rows.push(wire::Shard { service, shard, owner: String::new(), serving: None });
        }
        // Of two that claim it the higher epoch is the one that can write.
        rows.sort_by_key(|row| std::cmp::Reverse(row.serving.as_ref().map(|serving| serving.epoch)));
        rows
    });
    let owner = |row: &wire::Shard| {
        let owner = sharded(row.service).and_then(|of| ring.shards(of).get(row.shard as usize)?.as_ref());
        owner.map(ToString::to_string).unwrap_or_default()
    };
    rows.map(|row| wire::Shard { owner: owner(&row), ..row }).collect()
}
