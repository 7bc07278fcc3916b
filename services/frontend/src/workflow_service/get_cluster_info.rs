//! GetClusterInfo: which cluster this is.

use std::collections::BTreeMap;

use api::temporal::api::version::v1::{ReleaseInfo, VersionInfo};
use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::client_versions::CLIENTS;
use crate::deadline::Call;

pub(crate) fn check(_: &mut wire::GetClusterInfoRequest, _: &RequestLimits) -> ServiceResult<()> {
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    _: Call,
    _: wire::GetClusterInfoRequest,
) -> ServiceResult<wire::GetClusterInfoResponse> {
    let settings = frontend.settings();
    let supported: BTreeMap<String, String> =
        CLIENTS.iter().map(|(name, versions)| ((*name).to_owned(), (*versions).to_owned())).collect();
    let current = ReleaseInfo { version: settings.server_version.clone(), ..ReleaseInfo::default() };
    Ok(wire::GetClusterInfoResponse {
        supported_clients: supported,
        server_version: settings.server_version.clone(),
        cluster_id: frontend.cluster_id().to_owned(),
        version_info: Some(VersionInfo { current: Some(current), ..VersionInfo::default() }),
        cluster_name: settings.cluster_name.clone(),
        history_shard_count: settings.history_shards,
        persistence_store: settings.persistence_store.clone(),
        visibility_store: settings.visibility_store.clone(),
        initial_failover_version: 1,
        failover_version_increment: 10,
    })
}
