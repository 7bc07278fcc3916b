//! Operators' calls to the leader: list the nodes, change the voters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::Ring;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use internal_api::membership::membership_client::MembershipClient;
use internal_api::membership::{
    IdentifyReply, IdentifyRequest, MembersReply, NodeStatus, PinnedShard, RefusalReason, Refused, VoterReply,
    VoterStatus,
};
use openraft::ChangeMembers;

use crate::command::Command;
use crate::leadership::Leadership;
use crate::peer_client::{endpoint, whole};
use crate::raft_group::{Membership, Peer, raft_id};
use crate::voter::Shared;
use crate::wire::{refused, ring_message};

/// A new voter must have caught up within this.
const CATCH_UP: Duration = Duration::from_secs(15);
/// A voter that has not answered within this is not counted on.
const ANSWER: Duration = Duration::from_secs(8);

/// Everything about the members.
pub(crate) fn members(shared: &Shared, leadership: &Leadership, ring: &Arc<Ring>, voters: Vec<String>) -> MembersReply {
    let metrics = shared.raft.metrics().borrow().clone();
    let state = shared.machine.state();
    let pins = [("history", &state.history), ("matching", &state.matching)].into_iter().flat_map(|(service, of)| {
        of.pinned.iter().map(move |(shard, node)| PinnedShard {
            service: service.to_owned(),
            shard: *shard,
            node: node.clone(),
        })
    });
    MembersReply {
        refused: None,
        ring: Some(ring_message(ring, voters)),
        voters: voter_statuses(shared),
        term: metrics.current_term,
        leader: shared.identities.node.clone(),
        feature_level: state.feature_level,
        nodes: state.nodes.keys().map(|id| status_of(leadership, id)).collect(),
        pinned: pins.collect(),
    }
}

fn status_of(leadership: &Leadership, id: &str) -> NodeStatus {
    let session = leadership.session_of(id);
    NodeStatus { id: id.to_owned(), connected: session.connected, clock: session.clock }
}

fn voter_statuses(shared: &Shared) -> Vec<VoterStatus> {
    let metrics = shared.raft.metrics().borrow().clone();
    let membership = metrics.membership_config.membership();
    let voting: Vec<u64> = membership.voter_ids().collect();
    let matched = |id: &u64| metrics.replication.as_ref()?.get(id)?.map(|log| log.index);
    let status = |(id, peer): (&u64, &Peer)| VoterStatus {
        id: peer.id.clone(),
        address: peer.address.clone(),
        voting: voting.contains(id),
        matched: matched(id).unwrap_or_default(),
    };
    membership.nodes().map(status).collect()
}

/// The answer to a change of voters.
pub(crate) fn voter_reply(shared: &Shared, done: Result<(), Refused>) -> VoterReply {
    VoterReply { refused: done.err(), voters: voter_statuses(shared) }
}

fn invalid(message: impl Into<String>) -> Refused {
    refused(RefusalReason::Invalid, message)
}

fn unavailable(message: impl Into<String>) -> Refused {
    refused(RefusalReason::Unavailable, message)
}

/// The group as it is agreed upon.
async fn group(shared: &Shared) -> Result<Membership, Refused> {
    shared.raft.ensure_linearizable().await.map_err(|error| unavailable(error.to_string()))?;
    Ok(shared.raft.metrics().borrow().membership_config.membership().clone())
}

/// Makes a voter of a process that has started with an empty data folder: it learns everything first, then votes. Asked
/// again, it goes on where it was left.
pub(crate) async fn add_voter(
    shared: &Shared,
    leadership: &Leadership,
    id: String,
    address: String,
) -> Result<(), Refused> {
    let group = group(shared).await?;
    let number = raft_id(&id);
    let voting = group.voter_ids().any(|voter| voter == number);
    if let Some(known) = group.get_node(&number).filter(|known| known.address != address) {
        let what = if voting { "is a voter already, at" } else { "learns already, to be a voter at" };
        return Err(invalid(format!("{id:?} {what} {}: remove it before it comes elsewhere", known.address)));
    }
    if voting && group.get_joint_config().len() == 1 {
        return Ok(());
    }
    let found = identify(shared, &address, shared.timings.call_timeout * 2).await?;
    fits(shared, &found, &id, &address)?;
    // One of the same name that is not in the group any more makes room.
    let outside = group.get_node(&number).is_none();
    let other = shared.machine.look(|state| state.voters.get(&id).is_some_and(|known| known.uuid != found.uuid));
    if outside && other {
        leadership.propose(Command::VoterGone { id: id.clone() }).await?;
    }
    let known = Command::Voter { id: id.clone(), uuid: found.uuid, address: address.clone() };
    leadership.propose(known).await?;
    let peer = Peer { id: id.clone(), address };
    let learned = shared.runtime.timeout(CATCH_UP, shared.raft.add_learner(number, peer, true)).await;
    let joined = match learned {
        None => {
            Err(unavailable(format!("voter {id:?} did not catch up within {CATCH_UP:?}: it is a learner until it has")))
        }
        Some(Err(error)) => Err(unavailable(error.to_string())),
        Some(Ok(_)) => {
            let change = ChangeMembers::AddVoterIds([number].into());
            let changed = shared.raft.change_membership(change, true).await;
            changed.map(drop).map_err(|error| unavailable(error.to_string()))
        }
    };
    if joined.is_ok() {
        tracing::info!(voter = id, "a voter has joined");
    }
    joined
}

async fn identify(shared: &Shared, address: &str, within: Duration) -> Result<IdentifyReply, Refused> {
    let endpoint = endpoint(address, &shared.timings).map_err(invalid)?;
    let call = async {
        let channel = endpoint.connect().await.map_err(|error| whole(&error))?;
        let reply = MembershipClient::new(channel).identify(IdentifyRequest {}).await;
        reply.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
    };
    match shared.runtime.timeout(within, call).await {
        Some(Ok(found)) => Ok(found),
        Some(Err(why)) => Err(unavailable(format!("no voter answers at {address}: {why}"))),
        None => Err(unavailable(format!("no voter answers at {address} in time"))),
    }
}

fn fits(shared: &Shared, found: &IdentifyReply, id: &str, address: &str) -> Result<(), Refused> {
    let own = &shared.identities;
    if found.voter != id {
        return Err(invalid(format!("the voter at {address} is {:?}, not {id:?}", found.voter)));
    }
    let cluster = &own.cluster;
    let theirs = (&found.cluster_name, found.history_shards, found.matching_shards);
    let ours = (&cluster.name, cluster.history_shards, cluster.matching_shards);
    if theirs != ours {
        return Err(invalid(format!(
            "voter {id:?} is configured for cluster {:?} with {} history and {} matching shards, this is {:?} with {} and {}",
            theirs.0, theirs.1, theirs.2, ours.0, ours.1, ours.2
        )));
    }
    if !found.cluster_id.is_empty() && found.cluster_id != own.cluster_id() {
        let message =
            format!("voter {id:?} belongs to the cluster with id {:?}: give it an empty data folder", found.cluster_id);
        return Err(refused(RefusalReason::WrongCluster, message));
    }
    Ok(())
}

/// Takes a voter out of the group. Its process may be gone already, and so may the voter: then all is well.
pub(crate) async fn remove_voter(shared: &Shared, leadership: &Leadership, id: String) -> Result<(), Refused> {
    let group = group(shared).await?;
    let number = raft_id(&id);
    if group.get_node(&number).is_none() {
        return Ok(());
    }
    let change = if group.voter_ids().any(|voter| voter == number) {
        let mut left = group.get_joint_config().last().cloned().unwrap_or_default();
        left.remove(&number);
        if left.is_empty() {
            return Err(invalid(format!("{id:?} is the last voter and cannot be removed")));
        }
        can_decide(shared, &group, &left, &id).await?;
        ChangeMembers::RemoveVoters([number].into())
    } else {
        ChangeMembers::RemoveNodes([number].into())
    };
    shared.raft.change_membership(change, false).await.map_err(|error| unavailable(error.to_string()))?;
    tracing::info!(voter = id, "a voter has been removed");
    // Last, since a voter must be known for as long as it votes. A leader that is gone itself, or meanwhile leads no more,
    // leaves it to the next.
    if id != shared.identities.node {
        drop(leadership.propose(Command::VoterGone { id }).await);
    }
    Ok(())
}

/// Whether the voters that would be left without `gone` could decide anything. Were too few of them alive, the change could
/// not be completed, nor anything else be done after it.
async fn can_decide(shared: &Shared, group: &Membership, left: &BTreeSet<u64>, gone: &str) -> Result<(), Refused> {
    let mut silent: BTreeMap<&str, &str> = BTreeMap::new();
    let mut asked = FuturesUnordered::new();
    let mut answer = 0;
    for peer in left.iter().filter_map(|number| group.get_node(number)) {
        if peer.id == shared.identities.node {
            answer += 1;
        } else {
            silent.insert(&peer.id, &peer.address);
            asked.push(async move { (peer, identify(shared, &peer.address, ANSWER).await) });
        }
    }
    let majority = left.len() / 2 + 1;
    while answer < majority
        && let Some((peer, found)) = asked.next().await
    {
        if found.is_ok_and(|found| found.voter == peer.id) {
            silent.remove(peer.id.as_str());
            answer += 1;
        }
    }
    if answer >= majority {
        return Ok(());
    }
    let silent: Vec<String> = silent.iter().map(|(id, address)| format!("{id} at {address}")).collect();
    Err(invalid(format!(
        "without {gone:?} the voters could decide nothing: of the {} that would be left {} do not answer ({}); bring them \
         back or remove them first",
        left.len(),
        silent.len(),
        silent.join(", ")
    )))
}
