//! What StartWorkflowExecution and SignalWithStartWorkflowExecution have in common.

use api::temporal::api::common::v1::{
    Header, Link, Memo, Payloads, Priority, RetryPolicy, SearchAttributes, TimeSkippingConfig, WorkflowType,
};
use api::temporal::api::enums::v1::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy};
use api::temporal::api::sdk::v1::UserMetadata;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflow::v1::VersioningOverride;
use calls::{ServiceError, ServiceResult};
use prost_types::Duration;
use settings::RequestLimits;

use super::{durations, fields, invalid, labels, payloads, retry_policy, search_attributes, task_queue, versioning};

/// The fields that describe the workflow to start, borrowed from either request.
pub(crate) struct Start<'a> {
    pub(crate) workflow_id: &'a str,
    pub(crate) workflow_type: Option<&'a WorkflowType>,
    pub(crate) task_queue: Option<&'a TaskQueue>,
    pub(crate) input: Option<&'a Payloads>,
    pub(crate) workflow_execution_timeout: &'a mut Option<Duration>,
    pub(crate) workflow_run_timeout: &'a mut Option<Duration>,
    pub(crate) workflow_task_timeout: &'a mut Option<Duration>,
    pub(crate) identity: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) retry_policy: Option<&'a mut RetryPolicy>,
    pub(crate) cron_schedule: &'a str,
    pub(crate) memo: Option<&'a Memo>,
    pub(crate) search_attributes: Option<&'a SearchAttributes>,
    pub(crate) header: Option<&'a Header>,
    pub(crate) workflow_start_delay: &'a mut Option<Duration>,
    pub(crate) user_metadata: Option<&'a UserMetadata>,
    pub(crate) links: &'a [Link],
    pub(crate) versioning_override: Option<&'a VersioningOverride>,
    pub(crate) priority: Option<&'a Priority>,
    pub(crate) time_skipping_config: Option<&'a TimeSkippingConfig>,
}

/// Lends a request's fields to a [`Start`].
macro_rules! borrow_start {
    ($request:ident) => {
        $crate::validation::start::Start {
            workflow_id: &$request.workflow_id,
            workflow_type: $request.workflow_type.as_ref(),
            task_queue: $request.task_queue.as_ref(),
            input: $request.input.as_ref(),
            workflow_execution_timeout: &mut $request.workflow_execution_timeout,
            workflow_run_timeout: &mut $request.workflow_run_timeout,
            workflow_task_timeout: &mut $request.workflow_task_timeout,
            identity: &$request.identity,
            request_id: &$request.request_id,
            retry_policy: $request.retry_policy.as_mut(),
            cron_schedule: &$request.cron_schedule,
            memo: $request.memo.as_ref(),
            search_attributes: $request.search_attributes.as_ref(),
            header: $request.header.as_ref(),
            workflow_start_delay: &mut $request.workflow_start_delay,
            user_metadata: $request.user_metadata.as_ref(),
            links: &$request.links,
            versioning_override: $request.versioning_override.as_ref(),
            priority: $request.priority.as_ref(),
            time_skipping_config: $request.time_skipping_config.as_ref(),
        }
    };
}
pub(crate) use borrow_start;

/// Everything about a start that does not depend on state.
pub(crate) fn start(start: Start<'_>, limits: &RequestLimits) -> ServiceResult<()> {
    fields::required_id("workflow_id", start.workflow_id, limits)?;
    fields::workflow_type(start.workflow_type, limits)?;
    task_queue::task_queue(start.task_queue, limits)?;
    fields::optional_id("identity", start.identity, limits)?;
    fields::optional_id("request_id", start.request_id, limits)?;
    durations::duration("workflow_execution_timeout", start.workflow_execution_timeout, limits)?;
    durations::duration("workflow_run_timeout", start.workflow_run_timeout, limits)?;
    durations::duration("workflow_task_timeout", start.workflow_task_timeout, limits)?;
    durations::duration("workflow_start_delay", start.workflow_start_delay, limits)?;
    retry_policy::retry_policy(start.retry_policy, limits)?;
    cron(start.cron_schedule, limits)?;
    if !start.cron_schedule.is_empty() && durations::is_set(start.workflow_start_delay.as_ref()) {
        return invalid(format!(
            "workflow_start_delay and cron_schedule {:?} are both set, one of them is allowed",
            fields::beginning(start.cron_schedule)
        ));
    }
    payloads::blob("input", start.input, limits)?;
    payloads::memo(start.memo, limits)?;
    payloads::header(start.header, limits)?;
    payloads::user_metadata(start.user_metadata, limits)?;
    search_attributes::search_attributes(start.search_attributes, limits)?;
    labels::links(start.links, limits)?;
    labels::priority(start.priority, limits)?;
    versioning::override_version(start.versioning_override)?;
    if start.time_skipping_config.is_some_and(|config| config.enabled) {
        return Err(ServiceError::FailedPrecondition(
            "time_skipping_config.enabled is true, but this server does not skip time".to_owned(),
        ));
    }
    Ok(())
}

/// Which of the two policies may be set together. `signalling` starts never fail for an open run.
pub(crate) fn policies(reuse: i32, conflict: i32, signalling: bool) -> ServiceResult<()> {
    use WorkflowIdConflictPolicy as Conflict;
    use WorkflowIdReusePolicy as Reuse;
    let reuse = fields::known::<Reuse>("workflow_id_reuse_policy", reuse)?;
    let conflict = fields::known::<Conflict>("workflow_id_conflict_policy", conflict)?;
    match (reuse, conflict) {
        (_, Conflict::Fail) if signalling => invalid(
            "workflow_id_conflict_policy is FAIL, USE_EXISTING and TERMINATE_EXISTING are allowed when signalling"
                .to_owned(),
        ),
        (Reuse::TerminateIfRunning, Conflict::UseExisting | Conflict::TerminateExisting | Conflict::Fail) => {
            invalid(format!(
                "workflow_id_reuse_policy is TERMINATE_IF_RUNNING together with {}, which must not be set then",
                conflict.as_str_name()
            ))
        }
        (Reuse::RejectDuplicate, Conflict::TerminateExisting) => invalid(
            "workflow_id_reuse_policy is REJECT_DUPLICATE together with workflow_id_conflict_policy \
             TERMINATE_EXISTING, which would need a second run"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

fn cron(schedule: &str, limits: &RequestLimits) -> ServiceResult<()> {
    if schedule.is_empty() {
        return Ok(());
    }
    fields::length("cron_schedule", schedule, limits)?;
    // The one place that knows which crate reads cron schedules.
    execution::cron::validate(schedule).or_else(|reason| {
        invalid(format!("cron_schedule {:?} cannot be understood: {reason}", fields::beginning(schedule)))
    })
}

#[cfg(test)]
#[path = "start_test.rs"]
mod tests;
