//! Reports to messages and back.

use cluster::{NodeState, Ring, Role, Sharded};
use internal_api::admin as wire;

use crate::{
    LeaderReport, Member, Members, RingView, Serving, SessionReport, ShardReport, ShardRow, ShardRows, Unreachable,
    VoterReport,
};

pub(crate) fn service(of: Sharded) -> wire::Service {
    match of {
        Sharded::History => wire::Service::History,
        Sharded::Matching => wire::Service::Matching,
    }
}

/// `None` for unspecified, or for what a newer release may send.
pub(crate) fn sharded(of: i32) -> Option<Sharded> {
    match wire::Service::try_from(of) {
        Ok(wire::Service::History) => Some(Sharded::History),
        Ok(wire::Service::Matching) => Some(Sharded::Matching),
        Ok(wire::Service::Unspecified) | Err(_) => None,
    }
}

fn known(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(crate) fn members_response(ring: &Ring, leader: Result<LeaderReport, String>) -> wire::ListMembersResponse {
    let (leader, leader_unreachable) = match leader {
        Ok(leader) => (leader, String::new()),
        Err(why) => (LeaderReport::default(), why),
    };
    let session = |id: &str| {
        let found = leader.sessions.iter().find(|(node, _)| node == id);
        found.map(|(_, session)| wire::Session {
            connected: session.connected,
            clock_offset_ms: session.clock_offset_ms,
        })
    };
    let nodes = ring.nodes.values().map(|node| wire::Node {
        id: node.id.to_string(),
        incarnation: node.incarnation,
        roles: Role::ALL.iter().filter(|role| node.roles.contains(role)).map(ToString::to_string).collect(),
        address: node.address.clone(),
        zone: node.zone.clone(),
        weight: node.weight,
        state: state(node.state) as i32,
        history_shards: count(ring.owned(Sharded::History, &node.id).len()),
        matching_shards: count(ring.owned(Sharded::Matching, &node.id).len()),
        session: session(node.id.as_str()),
    });
    wire::ListMembersResponse {
        cluster_id: ring.cluster_id.clone(),
        ring_version: ring.version,
        nodes: nodes.collect(),
        voters: leader.voters.into_iter().map(voter_message).collect(),
        term: leader.term,
        leader_unreachable,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn state(of: NodeState) -> wire::NodeState {
    match of {
        NodeState::Joining => wire::NodeState::Joining,
        NodeState::Up => wire::NodeState::Up,
        NodeState::Draining => wire::NodeState::Draining,
    }
}

pub(crate) fn members(from: wire::ListMembersResponse) -> Members {
    Members {
        cluster_id: from.cluster_id,
        ring_version: from.ring_version,
        nodes: from.nodes.into_iter().map(member).collect(),
        voters: from.voters.into_iter().map(voter).collect(),
        term: from.term,
        leader_unreachable: known(from.leader_unreachable),
    }
}

fn member(from: wire::Node) -> Member {
    let state = match from.state() {
        wire::NodeState::Joining => "joining",
        wire::NodeState::Up => "up",
        wire::NodeState::Draining => "draining",
        wire::NodeState::Unspecified => "unknown",
    };
    Member {
        state: state.to_owned(),
        id: from.id,
        incarnation: from.incarnation,
        roles: from.roles,
        address: from.address,
        zone: from.zone,
        weight: from.weight,
        history_shards: from.history_shards,
        matching_shards: from.matching_shards,
        session: from.session.map(|of| SessionReport { connected: of.connected, clock_offset_ms: of.clock_offset_ms }),
    }
}

pub(crate) fn voter_message(of: VoterReport) -> wire::Voter {
    let VoterReport { id, address, voting, leader, matched } = of;
    wire::Voter { id, address, voting, leader, matched }
}

pub(crate) fn voter(from: wire::Voter) -> VoterReport {
    let wire::Voter { id, address, voting, leader, matched } = from;
    VoterReport { id, address, voting, leader, matched }
}

pub(crate) fn ring_response(ring: &Ring) -> wire::GetRingResponse {
    let owners =
        |service| ring.shards(service).iter().map(|id| id.as_ref().map(ToString::to_string).unwrap_or_default());
    wire::GetRingResponse {
        version: ring.version,
        cluster_id: ring.cluster_id.clone(),
        history: owners(Sharded::History).collect(),
        matching: owners(Sharded::Matching).collect(),
    }
}

pub(crate) fn ring_view(from: wire::GetRingResponse) -> RingView {
    RingView {
        version: from.version,
        cluster_id: from.cluster_id,
        history: from.history.into_iter().map(known).collect(),
        matching: from.matching.into_iter().map(known).collect(),
    }
}

/// A shard as the node that serves it reports it.
pub(crate) fn served(node: &str, of: &ShardReport) -> wire::Shard {
    let serving = wire::Serving {
        node: node.to_owned(),
        epoch: of.epoch,
        last_position: of.last_position,
        log_groups: of.log_groups,
        log_bytes: of.log_bytes,
        dirty_entities: of.dirty_entities,
        dirty_bytes: of.dirty_bytes,
        loaded_entities: of.loaded_entities,
        loaded_bytes: of.loaded_bytes,
        lag_ms: of.lag_ms,
    };
    wire::Shard { service: service(of.service) as i32, shard: of.shard, owner: String::new(), serving: Some(serving) }
}

pub(crate) fn shard_rows(from: wire::ListShardsResponse) -> ShardRows {
    ShardRows {
        ring_version: from.ring_version,
        shards: from.shards.into_iter().filter_map(shard_row).collect(),
        unreachable: from.unreachable.into_iter().map(unreachable).collect(),
    }
}

fn shard_row(from: wire::Shard) -> Option<ShardRow> {
    let serving = from.serving.map(|of| Serving {
        node: of.node,
        epoch: of.epoch,
        last_position: of.last_position,
        log_groups: of.log_groups,
        log_bytes: of.log_bytes,
        dirty_entities: of.dirty_entities,
        dirty_bytes: of.dirty_bytes,
        loaded_entities: of.loaded_entities,
        loaded_bytes: of.loaded_bytes,
        lag_ms: of.lag_ms,
    });
    Some(ShardRow { service: sharded(from.service)?.name(), shard: from.shard, owner: known(from.owner), serving })
}

pub(crate) fn unreachable(from: wire::Unreachable) -> Unreachable {
    Unreachable { node: from.node, why: from.why }
}
