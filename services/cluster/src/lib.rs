//! Who talks to whom: the traits through which frontend, history and matching call each other, what passes between them,
//! and the error that all of them answer with. In one process the traits are implemented by the services themselves.
//!
//! Absent on purpose: transport and status codes (frontend), and any service's logic.
//!
//! Start at [`History`] and [`Matching`].

mod error;
mod handover;
mod history;
mod matching;
mod tenant;
pub mod token;

pub use error::{ResourceExhaustedCause, ServiceError, ServiceResult};
pub use handover::{Handover, Receipt};
pub use history::{ActivityRef, History, RecordedStart, TaskStart};
pub use matching::{
    Matching, OfferOutcome, OfferedQuery, OfferedTask, QueryOutcome, QueueName, TaskKey, TaskQueueKind,
};
pub use tenant::{Namespace, TenantCtx};
