//! RegisterNamespace.

use api::temporal::api::enums::v1::{ArchivalState, NamespaceState};
use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use api::temporal::api::workflowservice::v1 as wire;
use calls::{Namespace, ServiceError, ServiceResult};
use ids::NamespaceId;
use settings::RequestLimits;

use super::namespace_config;
use crate::Frontend;
use crate::deadline::Call;
use crate::namespaces::already_exists;
use crate::validation::{durations, fields, payloads};

pub(crate) fn check(request: &mut wire::RegisterNamespaceRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::required_id("namespace", &request.namespace, limits)?;
    if request.namespace == fields::RESERVED_NAMESPACE {
        return Err(already_exists(&request.namespace));
    }
    fields::optional_id("owner_email", &request.owner_email, limits)?;
    payloads::text("description", &request.description, limits)?;
    namespace_config::data("data", &request.data, limits)?;
    let field = "workflow_execution_retention_period";
    durations::duration(field, &mut request.workflow_execution_retention_period, limits)?;
    namespace_config::no_archival("history_archival_state", request.history_archival_state)?;
    namespace_config::no_archival("visibility_archival_state", request.visibility_archival_state)?;
    if request.is_global_namespace {
        return Err(ServiceError::FailedPrecondition(
            "is_global_namespace is true, but this server has one cluster: false is allowed".to_owned(),
        ));
    }
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    _: Call,
    request: wire::RegisterNamespaceRequest,
) -> ServiceResult<wire::RegisterNamespaceResponse> {
    let settings = frontend.settings();
    let clusters = request.clusters.iter().map(|cluster| cluster.cluster_name.as_str());
    namespace_config::known_clusters(clusters.chain([request.active_cluster_name.as_str()]), settings)?;
    let retention = request.workflow_execution_retention_period;
    namespace_config::retention("workflow_execution_retention_period", retention.as_ref(), settings)?;
    let info = NamespaceInfo {
        name: request.namespace.clone(),
        state: NamespaceState::Registered as i32,
        description: request.description,
        owner_email: request.owner_email,
        data: request.data,
        ..NamespaceInfo::default()
    };
    let config = NamespaceConfig {
        workflow_execution_retention_ttl: retention,
        history_archival_state: ArchivalState::Disabled as i32,
        visibility_archival_state: ArchivalState::Disabled as i32,
        ..NamespaceConfig::default()
    };
    let namespace = Namespace { id: NamespaceId::new(""), name: request.namespace, info, config };
    frontend.quotas().admit_namespace_change(frontend.runtime().now())?;
    frontend.namespaces().create_below(settings.namespaces.most, namespace).await?;
    Ok(wire::RegisterNamespaceResponse {})
}
