//! A workflow execution as a value: what a workflow ID's chain of runs is, how an input changes it, what it owes to the
//! outside and when it is due to wake up.
//!
//! Absent on purpose: tokio, clocks, randomness, I/O, logging. Everything a decision needs comes in [`Env`] or [`Input`].
//!
//! Start at [`decide()`] and [`Workflow::apply`]; the shapes are in [`Workflow`], [`Run`] and [`Change`].

mod apply;
mod batches;
mod chain;
mod change;
pub mod command_checks;
mod counted;
pub mod cron;
mod decide;
mod draft;
mod duration;
mod events;
mod failure;
mod held;
mod indexes;
mod input;
mod invariants;
mod limits;
mod obligations;
mod pending;
mod refs;
mod replay;
mod reply;
mod requests;
mod retry;
mod row;
mod run;
mod run_settings;
mod shared_map;
mod transient;
mod updates;
mod wake_up;
mod workflow;
mod workflow_task;

pub use batches::Batches;
pub use chain::{Chain, ChainFact, ChainMove, Seen};
pub use change::{Batch, Change, Fact, RunChange, Step};
pub use counted::{Counted, Counts, RowBytes};
pub use decide::{decide, needs};
pub use duration::{from_wire, to_wire, wire_time};
pub use failure::cut_failure;
pub use input::*;
pub use invariants::invariants;
pub use limits::Limits;
pub use obligations::{Obligation, ObligationId, Owed, OwedChanges, TaskOffer, obligation, obligations, owed_changes};
pub use pending::{
    Activity, ActivityProgress, ActivityState, AttachedRequest, Child, ExternalCancel, ExternalSignal, Timer,
    activity_state,
};
pub use refs::RunRef;
pub use replay::{Replay, Successor, check_reset_point};
pub use reply::{
    ActivityTaken, HeartbeatNoted, Rejection, Reply, ResetDone, Signalled, Started, TaskCompleted, TaskTaken,
    Transition,
};
pub use requests::{RequestKind, SeenRequest, SeenRequests};
pub use retry::ResolvedRetry;
pub use row::{ChainRow, RunRow};
pub use run::{Ancestor, Run, RunCore, TimeoutsOf};
pub use shared_map::{Entry, SharedMap, Sum};
pub use transient::transient_events;
pub use updates::{
    AcceptedUpdate, AdmittedUpdate, CompletedUpdate, EndedUpdate, ReappliedUpdate, UpdateEnd, UpdateState, Volatile,
    abandoned_failure, update_messages,
};
pub use wake_up::{held_until, next_wake_up};
pub use workflow::Workflow;
pub use workflow_task::{
    SpeculativeStage, TaskKind, TaskStart, TransientStage, WorkflowTask, WrittenStage, timeout_of_attempt,
};

/// What a decision knows of the world. `now` need not be monotonic, since runs move between processes: event times are made so.
#[derive(Clone, Debug)]
pub struct Env<'a> {
    /// The time that the process goes by: of events, and of what is due after some time.
    pub now: ids::Timestamp,
    /// The wall clock, for what is due at a time of day: timers, start delays, cron schedules.
    pub wall: ids::WallClock,
    /// Random bits for fresh run ids and request ids.
    pub seed: u128,
    /// The limits in force.
    pub limits: &'a Limits,
    /// The tenant's id.
    pub namespace_id: &'a str,
    /// The workflow ID.
    pub workflow_id: &'a str,
}
