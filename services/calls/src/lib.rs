//! Calls between services: one table of calls for each service, the context that goes with every call, the error
//! that all of them answer with, and what their tokens say.
//!
//! A call is one row of a table, in `history.rs` or `matching.rs`. The trait with a method for each call, the way to the owner
//! serves it, what travels between nodes, what is counted of it and the answer of those that do not serve it follow from the
//! row. In one process the traits are implemented by the services themselves; between processes by crate `remote`.
//!
//! Absent on purpose: transport and status codes (crates `remote` and `frontend`), ownership (crate `cluster`), and any
//! service's logic.
//!
//! Start at `call.rs`, then [`History`] and [`Matching`].

mod call;
mod context;
mod error;
pub mod history;
pub mod matching;
mod receipt;
mod relayed;
mod table;
pub mod token;
mod wire;

pub use call::{Call, Carrier, Row, Service, Way};
pub use context::{CallContext, Namespace, Principal};
pub use error::{ResourceExhaustedCause, ServiceError, ServiceResult};
pub use history::{
    ActivityRef, ActivityReport, DumpWorkflow, GetHistory, History, Opened, RecordStart, RecordedStart, SendToWorkflow,
    TaskStart, UnwrittenEvents,
};
pub use matching::{Matching, OfferOutcome, OfferedQuery, OfferedTask, QueryOutcome, QueueName, TaskQueueKind};
pub use receipt::{Receipt, ReceiptSlot};
pub use relayed::Relayed;
pub use wire::Wire;
