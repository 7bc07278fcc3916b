//! GetSystemInfo: what this server can do. SDKs call it first and adapt.

use wire::get_system_info_response::Capabilities;

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::deadline::Call;

pub(crate) fn check(_: &mut wire::GetSystemInfoRequest, _: &RequestLimits) -> ServiceResult<()> {
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    _: Call,
    _: wire::GetSystemInfoRequest,
) -> ServiceResult<wire::GetSystemInfoResponse> {
    let server_version = frontend.settings().server_version.clone();
    Ok(wire::GetSystemInfoResponse { server_version, capabilities: Some(capabilities()) })
}

/// True is what this server does today, and nothing else.
fn capabilities() -> Capabilities {
    Capabilities {
        signal_and_query_header: true,
        internal_error_differentiation: true,
        activity_failure_include_heartbeat: true,
        encoded_failure_attributes: true,
        upsert_memo: true,
        eager_workflow_start: true,
        sdk_metadata: true,
        supports_schedules: false,
        // Only with this do workers say which build they are, which is kept, and which replay goes by. Versioning itself
        // is refused when a worker asks for it.
        build_id_based_versioning: true,
        count_group_by_execution_status: false,
        nexus: false,
        server_scaled_deployments: false,
        server_scaled_provider_cloud_run: false,
    }
}
