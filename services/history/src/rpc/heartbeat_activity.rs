//! RecordActivityTaskHeartbeat, by token and by id.

use api::temporal::api::workflowservice::v1::{
    RecordActivityTaskHeartbeatRequest, RecordActivityTaskHeartbeatResponse,
};
use calls::{ActivityReport, CallContext, ServiceResult};
use execution::{Input, Reply};

use super::activity_result;
use crate::HistoryService;
use crate::errors::unexpected;

pub(super) async fn heartbeat_activity(
    service: &HistoryService,
    ctx: &CallContext,
    ActivityReport { activity, request }: ActivityReport<RecordActivityTaskHeartbeatRequest>,
) -> ServiceResult<RecordActivityTaskHeartbeatResponse> {
    let (workflow_id, result) = activity_result(activity, request.identity, None, request.details);
    let key = service.key(ctx, &workflow_id);
    match service.give(&key, Input::Heartbeat(result)).await? {
        Reply::Heartbeat { cancel_requested } => {
            Ok(RecordActivityTaskHeartbeatResponse { cancel_requested, ..Default::default() })
        }
        _ => Err(unexpected("Heartbeat")),
    }
}
