//! RecordActivityTaskHeartbeat, by token and by id.

use api::temporal::api::workflowservice::v1::{
    RecordActivityTaskHeartbeatRequest, RecordActivityTaskHeartbeatResponse,
};
use calls::{ActivityReport, CallContext, ServiceResult};
use execution::{Heartbeat, HeartbeatNoted};

use super::activity_result;
use crate::HistoryService;

pub(super) async fn heartbeat_activity(
    service: &HistoryService,
    ctx: &CallContext,
    ActivityReport { activity, request }: ActivityReport<RecordActivityTaskHeartbeatRequest>,
) -> ServiceResult<RecordActivityTaskHeartbeatResponse> {
    let (named, result) = activity_result(activity, request.identity, None, request.details);
    let key = service.key(ctx, &named.workflow_id);
    let HeartbeatNoted { cancel_requested } = service.call_unshed(&key, named.run_id, Heartbeat(result)).await?;
    Ok(RecordActivityTaskHeartbeatResponse { cancel_requested, ..Default::default() })
}
