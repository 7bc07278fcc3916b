//! Which nodes are part of the cluster, and which should own which shard: a Raft group of voters that agree on the ring, and every node's way
//! to be in it.
//!
//! A process that votes runs a [`Voter`] and mounts [`Voter::service`] on its internal server; every process, voters
//! included, has a [`Member`], which joins through seeds, keeps a session with the leader and publishes ring versions. In
//! order: start the voter, start the member, serve the internal address, wait for [`Member::joined`], then
//! [`Member::take_part`]; at the end [`Member::drain`], [`Member::leave`], [`Voter::stop`].
//!
//! Absent on purpose: fencing. Rings are hints, late or split for a moment, and the logs' epochs decide which node owns a
//! shard. Also absent: wall clocks in any decision but the one to keep out a node whose clock is wrong. Leases are timers
//! in the leader's memory.
//!
//! Start at `cluster_state.rs`, which is pure and the only place where a ring is made, and `assignment.rs`, which decides
//! the ring. `leadership.rs` is what a leader does, `member.rs` what a node does. `log_store.rs`, `state_machine.rs` and
//! `disk.rs` are what Raft stands on.

mod admin;
mod assignment;
mod clock_offset;
mod cluster_state;
mod command;
mod disk;
mod identities;
mod leader_calls;
mod leader_search;
mod leadership;
mod log_store;
mod member;
mod operating;
mod peer_client;
mod raft_group;
mod service;
mod session;
mod settings;
mod state_machine;
mod voter;
mod wire;

#[cfg(test)]
mod stored_test;

pub use crate::settings::{ClusterSettings, FEATURE_LEVEL, InitialVoter, MemberSettings, VoterSettings};
pub use admin::{Admin, Members, NodeInfo, PinInfo, VoterInfo};
pub use leader_calls::CallError;
pub use member::{JoinError, JoinRefusal, Member};
pub use service::VoterService;
pub use voter::{StartError, Voter};
