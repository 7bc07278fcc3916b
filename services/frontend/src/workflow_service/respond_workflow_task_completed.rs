//! RespondWorkflowTaskCompleted: a worker's decisions.

use api::temporal::api::command::v1::Command;
use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::workflowservice::v1 as wire;
use calls::token::WorkflowTaskToken;
use calls::{Opened, ServiceError, ServiceResult};
use settings::RequestLimits;

use super::outgoing;
use crate::Frontend;
use crate::methods::OfTask;
use crate::validation::{durations, failures, fields, task_queue, versioning};

pub(crate) fn check(
    request: &mut wire::RespondWorkflowTaskCompletedRequest,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    fields::optional_id("identity", &request.identity, limits)?;
    fields::optional_id("binary_checksum", &request.binary_checksum, limits)?;
    fields::optional_id("worker_instance_key", &request.worker_instance_key, limits)?;
    versioning::stamp("worker_version_stamp", request.worker_version_stamp.as_ref(), limits)?;
    versioning::deployment_options(request.deployment_options.as_ref(), limits)?;
    versioning::behavior(request.versioning_behavior)?;
    if let Some(sticky) = &mut request.sticky_attributes {
        if let Some(queue) = &sticky.worker_task_queue
            && !queue.name.is_empty()
        {
            task_queue::task_queue(Some(queue), limits)?;
        }
        let field = "sticky_attributes.schedule_to_start_timeout";
        durations::duration(field, &mut sticky.schedule_to_start_timeout, limits)?;
    }
    if request.intermediate_page || request.page_number != 0 {
        return Err(ServiceError::FailedPrecondition(
            "intermediate_page or page_number is set, but this server takes completions in one piece".to_owned(),
        ));
    }
    // Deeper chains could not be read back; everything else about commands is checked by the execution.
    for command in &mut request.commands {
        match &mut command.attributes {
            Some(Attributes::FailWorkflowExecutionCommandAttributes(fail)) => {
                failures::cut_causes(fail.failure.as_mut());
            }
            Some(Attributes::RecordMarkerCommandAttributes(marker)) => failures::cut_causes(marker.failure.as_mut()),
            Some(Attributes::ContinueAsNewWorkflowExecutionCommandAttributes(next)) => {
                failures::cut_causes(next.failure.as_mut());
            }
            _ => {}
        }
    }
    for result in request.query_results.values_mut() {
        failures::cut_causes(result.failure.as_mut());
    }
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    OfTask { ctx, token }: OfTask<WorkflowTaskToken>,
    request: wire::RespondWorkflowTaskCompletedRequest,
) -> ServiceResult<wire::RespondWorkflowTaskCompletedResponse> {
    for namespace in namespaces_of(&request.commands) {
        fields::required_id("commands[].namespace", namespace, &frontend.settings().limits)?;
        frontend.namespaces().by_name(namespace).await?;
    }
    let mut response = frontend.history().complete_workflow_task(&ctx, Opened { token, request }).await?;
    let keys = frontend.keys();
    if let Some(task) = &mut response.workflow_task {
        outgoing::seal_workflow_task(&keys, task);
    }
    for task in &mut response.activity_tasks {
        outgoing::seal_activity_task(&keys, task);
    }
    Ok(response)
}

/// The namespaces that commands name. One that does not exist is refused before anything happens, as in the public server;
/// whether commands may reach those that do is checked by the execution.
fn namespaces_of(commands: &[Command]) -> impl Iterator<Item = &str> {
    let named = commands.iter().filter_map(|command| match command.attributes.as_ref()? {
        Attributes::StartChildWorkflowExecutionCommandAttributes(start) => Some(start.namespace.as_str()),
        Attributes::SignalExternalWorkflowExecutionCommandAttributes(signal) => Some(signal.namespace.as_str()),
        Attributes::RequestCancelExternalWorkflowExecutionCommandAttributes(cancel) => Some(cancel.namespace.as_str()),
        _ => None,
    });
    named.filter(|namespace| !namespace.is_empty())
}
