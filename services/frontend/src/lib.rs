//! The frontend: the Temporal API over gRPC. It checks requests, resolves tenants, authenticates tokens, limits, and
//! passes on to [`calls::History`] and [`calls::Matching`]; what it keeps itself are namespaces and keys, in the
//! registry.
//!
//! Absent on purpose: any state of workflows or queues, and any knowledge of where shards live.
//!
//! A request passes, in this order: [`transport`] (HTTP/2, unknown methods, [`client_versions`], deadlines, panics, and
//! its message read within what [`memory`] there is, [`decoded`] size included), the table in `methods.rs` (rate
//! limit, the method's `check`, its turn, its namespace and token), and the method's own file, such as those under
//! `workflow_service/`, which calls on, and seals tokens on the way out.
//!
//! Start at [`Frontend`].

// Clients of every age are served: fields that the API has deprecated are still sent, checked and answered.
#![allow(deprecated)]

mod admission;
mod client_versions;
mod deadline;
pub mod decoded;
mod directory;
mod errors;
mod frontend;
pub mod fuzz;
mod memory;
mod methods;
mod namespaces;
mod operator_service;
mod quotas;
mod stored;
mod tokens;
mod transport;
mod validation;
mod workflow_service;

pub use directory::Directory;
pub use errors::{RpcStatus, to_status};
pub use frontend::{Frontend, StartError};
