//! Rings and refusals as messages, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::{Node, NodeId, NodeState, Ring};
use internal_api::membership as message;
use internal_api::membership::{RefusalReason, Refused, RingReply, ring_reply};

use crate::cluster_state::role_named;
use crate::command::Why;

/// A ring as it is sent, with where the voters are.
pub(crate) fn ring_message(ring: &Ring, voter_addresses: Vec<String>) -> message::Ring {
    let position: BTreeMap<&NodeId, u32> = ring.nodes.keys().zip(1..).collect();
    let owners = |shards: &[Option<NodeId>]| {
        let of = |owner: &Option<NodeId>| owner.as_ref().and_then(|id| position.get(id)).copied().unwrap_or(0);
        shards.iter().map(of).collect()
    };
    message::Ring {
        version: ring.version,
        cluster_id: ring.cluster_id.clone(),
        nodes: ring.nodes.values().map(node_message).collect(),
        history: owners(&ring.history),
        matching: owners(&ring.matching),
        voter_addresses,
    }
}

fn node_message(node: &Node) -> message::Node {
    let state = match node.state {
        NodeState::Joining => message::NodeState::Joining,
        NodeState::Up => message::NodeState::Up,
        NodeState::Draining => message::NodeState::Draining,
    };
    message::Node {
        id: node.id.as_str().to_owned(),
        incarnation: node.incarnation,
        roles: node.roles.iter().map(|role| role.name().to_owned()).collect(),
        address: node.address.clone(),
        zone: node.zone.clone(),
        weight: node.weight,
        state: state.into(),
    }
}

/// A ring as it was received.
pub(crate) fn ring_received(ring: &message::Ring) -> Ring {
    let nodes: Vec<Node> = ring.nodes.iter().map(node_received).collect();
    let owners = |shards: &[u32]| {
        let of = |owner: &u32| nodes.get((*owner as usize).checked_sub(1)?).map(|node| node.id.clone());
        shards.iter().map(of).collect()
    };
    Ring {
        version: ring.version,
        cluster_id: ring.cluster_id.clone(),
        history: owners(&ring.history),
        matching: owners(&ring.matching),
        nodes: nodes.into_iter().map(|node| (node.id.clone(), node)).collect(),
    }
}

fn node_received(node: &message::Node) -> Node {
    let state = match node.state() {
        message::NodeState::Up => NodeState::Up,
        message::NodeState::Draining => NodeState::Draining,
        message::NodeState::Joining | message::NodeState::Unspecified => NodeState::Joining,
    };
    Node {
        id: NodeId::new(node.id.as_str()),
        incarnation: node.incarnation,
        roles: node.roles.iter().filter_map(|name| role_named(name)).collect(),
        address: node.address.clone(),
        zone: node.zone.clone(),
        weight: node.weight,
        state,
    }
}

/// A refusal.
pub(crate) fn refused(reason: RefusalReason, message: impl Into<String>) -> Refused {
    Refused { reason: reason.into(), message: message.into(), leader_address: String::new() }
}

/// What the state's refusals are called between processes.
pub(crate) fn reason_of(why: Why) -> RefusalReason {
    match why {
        Why::NotFormed => RefusalReason::Unavailable,
        Why::NodeIdTaken => RefusalReason::NodeIdTaken,
        Why::UnknownNode => RefusalReason::UnknownNode,
        Why::FeatureLevel => RefusalReason::FeatureLevel,
        Why::Invalid | Why::VoterIdTaken => RefusalReason::Invalid,
    }
}

/// An answer that is a ring or a refusal.
pub(crate) fn ring_reply(result: Result<(Arc<Ring>, Vec<String>), Refused>) -> RingReply {
    RingReply {
        result: Some(match result {
            Ok((ring, voters)) => ring_reply::Result::Ring(ring_message(&ring, voters)),
            Err(refused) => ring_reply::Result::Refused(refused),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_survives_the_wire() {
        let mut ring = Ring::alone(&NodeId::new("b"), 5, 2);
        let other = Node {
            id: NodeId::new("a"),
            zone: "z".into(),
            state: NodeState::Draining,
            ..ring.nodes[&NodeId::new("b")].clone()
        };
        ring.nodes.insert(other.id.clone(), other);
        ring.history[1] = None;
        ring.history[2] = Some(NodeId::new("a"));
        let sent = ring_message(&ring, vec!["v:1".into()]);
        assert_eq!(ring_received(&sent), ring);
        assert_eq!(sent.history, [2, 0, 1, 2, 2]);
    }
}
