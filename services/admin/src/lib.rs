//! The operators' side of a node: what the cluster looks like, and how to move it. Served on the internal address of
//! every node, never through the public API. Any node answers for all: it calls the others.
//!
//! Absent on purpose: what a process is made of. [`Process`] is what this crate needs of it, and `server` implements it.
//! Nor is there any permission here: every client that reaches the internal address may do all of this.
//!
//! Start at [`Process`] and `endpoint.rs`; [`AdminClient`] is the other end.

mod client;
mod endpoint;
mod fan_out;
mod process;
mod report;
mod status;
mod wire;

pub use client::{AdminClient, AdminError};
pub use cluster::Sharded;
pub use endpoint::{AdminService, admin_server};
pub use process::Process;
pub use report::{
    Flushed, LeaderReport, Member, Members, RingView, Serving, SessionReport, ShardReport, ShardRow, ShardRows,
    Unreachable, VerifiedPage, VoterReport,
};
