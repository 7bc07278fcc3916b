//! The cluster: nodes, their roles, and the ring that says who should own what.
//!
//! Absent on purpose: where rings come from (crate `membership`), and what nodes ask of each other (crate `calls`).

mod ring;

pub use ring::{FixedRing, Membership, NoLeader, Node, NodeId, NodeState, Ownership, Ring, Role, Sharded};
