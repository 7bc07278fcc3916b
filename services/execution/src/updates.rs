//! Updates of a run: requests that the workflow accepts or rejects, and answers later.
//!
//! What is admitted lives in memory alone: it is lost when the run leaves memory, and then sent again by its caller. What is
//! accepted is an event, and so is the outcome.

use std::sync::Arc;

use api::temporal::api::failure::v1::Failure;
use api::temporal::api::failure::v1::failure::FailureInfo;
use api::temporal::api::protocol::v1::Message;
use api::temporal::api::protocol::v1::message::SequencingId;
use api::temporal::api::update::v1::Request;
use api::{Held, shared_bytes, texts};
use prost::Message as _;

use crate::run::Run;

/// How many updates are remembered, of those that ended without a trace, for callers that have not looked yet.
const ENDED_MAX: usize = 32;
/// Bytes of what is remembered of them.
const ENDED_MAX_BYTES: usize = 1 << 20;

/// An update that the workflow has accepted and not answered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AcceptedUpdate {
    /// The caller's id for it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its WorkflowExecutionUpdateAccepted event.
    #[prost(int64, tag = "2")]
    pub accepted_event_id: i64,
}

/// An update that waits for the workflow and is in the history: one that another run had accepted before a reset.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReappliedUpdate {
    /// The caller's id for it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its WorkflowExecutionUpdateAdmitted event, which has the request.
    #[prost(int64, tag = "2")]
    pub admitted_event_id: i64,
}

/// An update that the workflow has answered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CompletedUpdate {
    /// The caller's id for it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its WorkflowExecutionUpdateCompleted event, which has the outcome.
    #[prost(int64, tag = "2")]
    pub completed_event_id: i64,
}

/// An update that waits for the workflow to accept or reject it.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmittedUpdate {
    /// The caller's id for it.
    pub id: String,
    /// What is asked.
    pub request: Arc<Request>,
    /// The stamp of the workflow task that carries it to a worker.
    pub carried_by: Option<i64>,
}

/// An update that has ended without an event.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedUpdate {
    /// The caller's id for it.
    pub id: String,
    /// How.
    pub end: UpdateEnd,
}

/// How an update ended that left no event.
#[derive(Clone, Debug, PartialEq)]
pub enum UpdateEnd {
    /// The workflow has rejected it.
    Rejected(Arc<Failure>),
    /// The worker's answer to it made no sense, so the workflow task failed.
    TaskFailed,
}

/// What a run has in memory alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volatile {
    /// In the order in which they came.
    pub admitted: Vec<Arc<AdmittedUpdate>>,
    /// The oldest first.
    pub ended: Vec<Arc<EndedUpdate>>,
}

/// Where an update stands.
#[derive(Clone, Debug, PartialEq)]
pub enum UpdateState {
    /// It waits for the workflow.
    Admitted,
    /// The workflow has accepted it.
    Accepted,
    /// The workflow has accepted it, and closed without an answer.
    Abandoned,
    /// The outcome is in this event.
    Completed(i64),
    /// The workflow has rejected it.
    Rejected(Arc<Failure>),
    /// The workflow task that carried it failed for what the worker said of it.
    TaskFailed,
}

impl Run {
    /// How many updates the run has taken.
    pub(crate) fn update_count(&self) -> usize {
        self.waiting_updates() + self.accepted_updates.len() + self.completed_updates.len()
    }

    /// How many of them the workflow has yet to accept or reject.
    pub(crate) fn waiting_updates(&self) -> usize {
        self.reapplied_updates.len() + self.volatile.admitted.len()
    }

    /// Whether it has taken an update that is under way or answered.
    pub(crate) fn has_update(&self, id: &str) -> bool {
        self.accepted_updates.contains_key(id)
            || self.completed_updates.contains_key(id)
            || self.reapplied_updates.contains_key(id)
            || self.volatile.find(id).is_some()
    }

    /// Where an update stands, by the caller's id; `None` for one that is not known (any more).
    pub fn update(&self, id: &str) -> Option<UpdateState> {
        if let Some(completed) = self.completed_updates.get(id) {
            return Some(UpdateState::Completed(completed.completed_event_id));
        }
        if self.accepted_updates.contains_key(id) {
            return Some(if self.is_open() { UpdateState::Accepted } else { UpdateState::Abandoned });
        }
        if self.reapplied_updates.contains_key(id) || self.volatile.find(id).is_some() {
            return Some(UpdateState::Admitted);
        }
        let ended = self.volatile.ended.iter().rev().find(|ended| ended.id == id)?;
        Some(match &ended.end {
            UpdateEnd::Rejected(failure) => UpdateState::Rejected(Arc::clone(failure)),
            UpdateEnd::TaskFailed => UpdateState::TaskFailed,
        })
    }

    /// Whether it has something that only memory has, which callers wait for.
    pub fn is_pinned(&self) -> bool {
        !self.volatile.admitted.is_empty() || self.task.as_ref().is_some_and(|task| task.is_speculative())
    }

    /// The same run with what its row and the log have of it, and nothing else.
    #[must_use]
    pub fn durable(&self) -> Self {
        let mut durable = self.clone();
        durable.volatile = Volatile::default();
        durable.task.take_if(|task| task.is_speculative());
        durable
    }
}

/// The updates that the started workflow task carries, as messages to its worker.
pub fn update_messages(run: &Run) -> Vec<Message> {
    let Some(task) = &run.task else { return Vec::new() };
    let Some(started_event_id) = task.started_event_id() else { return Vec::new() };
    let message = |admitted: &Arc<AdmittedUpdate>| Message {
        id: format!("{}/request", admitted.id),
        protocol_instance_id: admitted.id.clone(),
        sequencing_id: Some(SequencingId::EventId(started_event_id - 1)),
        body: Some(prost_types::Any {
            type_url: "type.googleapis.com/temporal.api.update.v1.Request".to_owned(),
            value: admitted.request.encode_to_vec(),
        }),
    };
    run.volatile.carried_by(task.stamp).map(message).collect()
}

impl Volatile {
    /// What waits under this id.
    pub fn find(&self, id: &str) -> Option<&Arc<AdmittedUpdate>> {
        self.admitted.iter().find(|admitted| admitted.id == id)
    }

    /// What the workflow task with this stamp carries, in the order in which it came.
    pub fn carried_by(&self, stamp: i64) -> impl Iterator<Item = &Arc<AdmittedUpdate>> {
        self.admitted.iter().filter(move |admitted| admitted.carried_by == Some(stamp))
    }

    /// Bytes of the requests that wait.
    pub(crate) fn request_bytes(&self) -> usize {
        self.admitted.iter().map(|admitted| admitted.request.encoded_len()).sum()
    }

    pub(crate) fn admit(&mut self, id: String, request: Arc<Request>) {
        self.ended.retain(|ended| ended.id != id);
        self.admitted.push(Arc::new(AdmittedUpdate { id, request, carried_by: None }));
    }

    /// The workflow task with this stamp carries all that waits.
    pub(crate) fn carry(&mut self, stamp: i64) {
        for admitted in &mut self.admitted {
            Arc::make_mut(admitted).carried_by = Some(stamp);
        }
    }

    /// Takes out what waits under this id.
    pub(crate) fn take(&mut self, id: &str) -> Option<Arc<AdmittedUpdate>> {
        let at = self.admitted.iter().position(|admitted| admitted.id == id)?;
        Some(self.admitted.remove(at))
    }

    /// Ends what waits under this id, if it does.
    pub(crate) fn end(&mut self, id: &str, end: UpdateEnd) {
        if self.take(id).is_some() {
            self.note_end(id, end);
        }
    }

    /// Notes how an update ended, for callers that have not looked yet.
    pub(crate) fn note_end(&mut self, id: &str, end: UpdateEnd) {
        self.ended.push(Arc::new(EndedUpdate { id: id.to_owned(), end }));
        while self.ended.len() > 1 && (self.ended.len() > ENDED_MAX || self.ended_bytes() > ENDED_MAX_BYTES) {
            self.ended.remove(0);
        }
    }

    /// Ends all that the workflow task with this stamp carries.
    pub(crate) fn end_carried(&mut self, stamp: i64, end: &UpdateEnd) {
        let carried: Vec<String> = self.carried_by(stamp).map(|admitted| admitted.id.clone()).collect();
        carried.iter().for_each(|id| self.end(id, end.clone()));
    }

    fn ended_bytes(&self) -> usize {
        self.ended.iter().map(|ended| shared_bytes(&**ended)).sum()
    }
}

impl UpdateEnd {
    /// The worker has completed the task that carried the update, and said nothing of it.
    pub(crate) fn unprocessed() -> Self {
        Self::Rejected(Arc::new(server_failure(texts::UPDATE_UNPROCESSED, "UnprocessedUpdate")))
    }
}

/// The outcome of an update that was accepted by a workflow that closed without an answer.
pub fn abandoned_failure() -> Failure {
    server_failure(texts::UPDATE_ABANDONED, "AcceptedUpdateCompletedWorkflow")
}

fn server_failure(message: &str, kind: &str) -> Failure {
    use api::temporal::api::failure::v1::ApplicationFailureInfo;
    let info = ApplicationFailureInfo { r#type: kind.to_owned(), non_retryable: true, ..Default::default() };
    Failure {
        message: message.to_owned(),
        source: "Server".to_owned(),
        failure_info: Some(FailureInfo::ApplicationFailureInfo(info)),
        ..Failure::default()
    }
}

impl Held for AcceptedUpdate {
    fn heap_bytes(&self) -> usize {
        self.id.heap_bytes()
    }
}

impl Held for ReappliedUpdate {
    fn heap_bytes(&self) -> usize {
        self.id.heap_bytes()
    }
}

impl Held for CompletedUpdate {
    fn heap_bytes(&self) -> usize {
        self.id.heap_bytes()
    }
}

impl Held for AdmittedUpdate {
    fn heap_bytes(&self) -> usize {
        self.id.heap_bytes() + shared_bytes(&*self.request)
    }
}

impl Held for EndedUpdate {
    fn heap_bytes(&self) -> usize {
        let end = match &self.end {
            UpdateEnd::Rejected(failure) => shared_bytes(&**failure),
            UpdateEnd::TaskFailed => 0,
        };
        self.id.heap_bytes() + end
    }
}

impl Held for Volatile {
    fn heap_bytes(&self) -> usize {
        let places = (self.admitted.len() + self.ended.len()) * size_of::<usize>();
        let admitted: usize = self.admitted.iter().map(|admitted| shared_bytes(&**admitted)).sum();
        places + admitted + self.ended_bytes()
    }
}
