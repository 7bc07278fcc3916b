//! RespondActivityTaskFailed, by token and by id.

use api::temporal::api::workflowservice::v1::{RespondActivityTaskFailedRequest, RespondActivityTaskFailedResponse};
use calls::{ActivityReport, CallContext, ServiceResult};
use execution::{ActivityFailure, FailActivity};

use super::activity_result;
use crate::HistoryService;

pub(super) async fn fail_activity(
    service: &HistoryService,
    ctx: &CallContext,
    ActivityReport { activity, request }: ActivityReport<RespondActivityTaskFailedRequest>,
) -> ServiceResult<RespondActivityTaskFailedResponse> {
    let outcome = ActivityFailure {
        failure: request.failure,
        cause: request.cause,
        heartbeat_details: request.last_heartbeat_details,
    };
    let (named, result) = activity_result(activity, request.identity, request.worker_version, outcome);
    let key = service.key(ctx, &named.workflow_id);
    service.call_unshed(&key, named.run_id, FailActivity(result)).await?;
    Ok(RespondActivityTaskFailedResponse::default())
}
