//! ListClusters: this cluster, which is the only one that it knows.

use api::temporal::api::operatorservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use crate::Frontend;
use crate::deadline::Call;
use crate::validation::{fields, invalid};

pub(crate) fn check(request: &mut wire::ListClustersRequest, _: &RequestLimits) -> ServiceResult<()> {
    fields::page_size("page_size", request.page_size)?;
    if !request.next_page_token.is_empty() {
        return invalid("next_page_token is set, but there is one page: none is allowed".to_owned());
    }
    Ok(())
}

/// Without an address: which one its clients reach it by is not known here.
pub(crate) async fn serve(
    frontend: Frontend,
    _: Call,
    _: wire::ListClustersRequest,
) -> ServiceResult<wire::ListClustersResponse> {
    let settings = frontend.settings();
    let cluster = wire::ClusterMetadata {
        cluster_name: settings.cluster_name.clone(),
        cluster_id: frontend.cluster_id().to_owned(),
        initial_failover_version: 1,
        history_shard_count: settings.history_shards,
        is_connection_enabled: true,
        ..wire::ClusterMetadata::default()
    };
    Ok(wire::ListClustersResponse { clusters: vec![cluster], ..wire::ListClustersResponse::default() })
}
