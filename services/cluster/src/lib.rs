//! The cluster: nodes, their roles, and the ring that says which node should own which shard.
//!
//! Absent on purpose: where rings come from (crate `membership`), and calls between nodes (crate `calls`).

mod ring;

pub use ring::{FixedRing, Membership, NoLeader, Node, NodeId, NodeState, Ownership, Ring, Role, Sharded};
