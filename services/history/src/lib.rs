//! History: durable workflow executions. It routes requests to the shards of their workflows, answers from what the
//! shards decide, and carries out what workflows owe to matching and to each other.
//!
//! Absent on purpose: what a request does to a workflow (crate `execution`), logs, checkpoints and recovery (crate
//! `entities`), and names of namespaces, tokens' seals and status codes (crate `frontend`).
//!
//! Start at [`HistoryService`]; each RPC has a file under `rpc/`.

mod dump;
mod errors;
mod host;
mod kind;
mod links;
mod namespace_names;
mod pages;
mod peers;
mod queries;
mod rpc;
mod service;
mod task_response;
mod updates;
mod watch;

pub use kind::{WorkflowKind, WorkflowPart, chain_of_run, check_row};
pub use namespace_names::LookUpName;
pub use service::{HistoryService, Neighbours};
