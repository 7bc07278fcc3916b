//! Waiting for updates: callers look at the run whenever it changes, until the update has come as far as they want.

use api::temporal::api::enums::v1::UpdateWorkflowExecutionLifecycleStage as Stage;
use api::temporal::api::enums::v1::WorkflowExecutionStatus;
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::update::v1::Outcome;
use api::temporal::api::update::v1::outcome::Value;
use api::texts;
use calls::{ResourceExhaustedCause, ServiceError, ServiceResult};
use entities::EntityKey;
use execution::{Run, UpdateState, abandoned_failure};
use ids::Timestamp;

use crate::HistoryService;
use crate::pages::read_forward;
use crate::watch::Watcher;

/// How far an update has come.
pub(crate) struct Reached {
    /// The run that has it.
    pub(crate) run: std::sync::Arc<Run>,
    /// How far.
    pub(crate) stage: Stage,
    /// If it is completed.
    pub(crate) outcome: Option<Outcome>,
    /// Whether the workflow has rejected it, so that no event shows it.
    pub(crate) is_rejected: bool,
}

/// What a caller waits for.
pub(crate) struct Wait<'a> {
    /// The run.
    pub(crate) run_id: &'a str,
    /// The update.
    pub(crate) id: &'a str,
    /// How far it is to come.
    pub(crate) until: Stage,
    /// When the caller is answered how far it has come, at the latest.
    pub(crate) deadline: Timestamp,
}

/// Waits. Nothing if the run does not know the update (any more): memory may have been lost.
pub(crate) async fn wait(
    service: &HistoryService,
    key: &EntityKey,
    watcher: &mut Watcher,
    wait: &Wait<'_>,
) -> ServiceResult<Option<Reached>> {
    loop {
        let run = service.read(key, wait.run_id).await?;
        let stage = match run.update(wait.id) {
            None if run.is_open() => return Ok(None),
            None => return Err(aborted(&run)),
            Some(UpdateState::TaskFailed) => {
                return Err(ServiceError::WorkflowNotReady(texts::UPDATE_TASK_FAILED.to_owned()));
            }
            Some(UpdateState::Completed(event_id)) => {
                let outcome = outcome_in(service, key, &run, event_id).await?;
                return Ok(Some(completed(run, outcome, false)));
            }
            Some(UpdateState::Rejected(failure)) => {
                return Ok(Some(completed(run, failed((*failure).clone()), true)));
            }
            Some(UpdateState::Abandoned) => {
                return Ok(Some(completed(run, failed(abandoned_failure()), false)));
            }
            Some(UpdateState::Accepted) => Stage::Accepted,
            Some(UpdateState::Admitted) => Stage::Admitted,
        };
        let left = wait.deadline.since(service.runtime.now());
        let has_come = stage as i32 >= wait.until as i32;
        if has_come || service.runtime.timeout(left, watcher.changed()).await.is_none() {
            return Ok(Some(Reached { run, stage, outcome: None, is_rejected: false }));
        }
    }
}

fn completed(run: std::sync::Arc<Run>, outcome: Outcome, is_rejected: bool) -> Reached {
    Reached { run, stage: Stage::Completed, outcome: Some(outcome), is_rejected }
}

fn failed(failure: Failure) -> Outcome {
    Outcome { value: Some(Value::Failure(failure)) }
}

/// The run closed before the workflow had looked at the update. Where a run follows, that one takes it.
fn aborted(run: &Run) -> ServiceError {
    if run.status() == WorkflowExecutionStatus::ContinuedAsNew {
        return ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::BusyWorkflow,
            message: texts::WORKFLOW_IS_CLOSING.to_owned(),
            retry_after: None,
        };
    }
    ServiceError::NotFound(texts::UPDATE_ABORTED.to_owned())
}

async fn outcome_in(service: &HistoryService, key: &EntityKey, run: &Run, event_id: i64) -> ServiceResult<Outcome> {
    let read = read_forward(&*service.store.table, key, run, event_id, event_id + 1, 1).await?;
    match read.events.into_iter().next().and_then(|event| event.attributes) {
        Some(Attributes::WorkflowExecutionUpdateCompletedEventAttributes(completed)) => {
            Ok(completed.outcome.unwrap_or_default())
        }
        _ => Err(ServiceError::DataLoss(format!("event {event_id} does not complete an update, as the run says"))),
    }
}

/// How far a caller waits who says so: for acceptance, if not.
pub(crate) fn stage_of(wait_policy: Option<&api::temporal::api::update::v1::WaitPolicy>) -> Stage {
    match wait_policy.map(|policy| policy.lifecycle_stage()) {
        Some(Stage::Completed) => Stage::Completed,
        _ => Stage::Accepted,
    }
}
