//! Who talks to whom: the traits through which frontend, history and matching call each other, what passes between them,
//! the error that all of them answer with, and the ring that says who should own what. In one process the traits are
//! implemented by the services themselves; between processes by crate `remote`.
//!
//! Absent on purpose: transport and status codes (frontend), and any service's logic.
//!
//! Start at [`History`] and [`Matching`].

mod deadline;
mod error;
mod handover;
mod history;
mod matching;
mod ring;
mod tenant;
pub mod token;

pub use deadline::Deadline;
pub use error::{ResourceExhaustedCause, ServiceError, ServiceResult};
pub use handover::{Handover, Receipt};
pub use history::{ActivityRef, History, RecordedStart, TaskStart, UnwrittenEvents};
pub use matching::{
    Matching, OfferOutcome, OfferedQuery, OfferedTask, QueryOutcome, QueueName, TaskKey, TaskQueueKind,
};
pub use ring::{FixedRing, Membership, Node, NodeId, NodeState, Ownership, Ring, Role, Sharded};
pub use tenant::{Namespace, TenantCtx};
