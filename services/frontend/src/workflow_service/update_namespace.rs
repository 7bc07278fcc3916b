//! UpdateNamespace: description, owner, data, retention.

use api::temporal::api::enums::v1::NamespaceState;
use api::temporal::api::workflowservice::v1 as wire;
use calls::{Namespace, ServiceError, ServiceResult};
use settings::{FrontendSettings, RequestLimits};

use super::namespace_config;
use crate::Frontend;
use crate::methods::AboutNamespace;
use crate::validation::{durations, fields, invalid, payloads};

/// How many binaries a namespace may mark as bad: the reference server's default.
const MOST_BAD_BINARIES: usize = 10;

pub(crate) fn check(request: &mut wire::UpdateNamespaceRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::required_id("namespace", &request.namespace, limits)?;
    if let Some(info) = &request.update_info {
        payloads::text("update_info.description", &info.description, limits)?;
        fields::optional_id("update_info.owner_email", &info.owner_email, limits)?;
        namespace_config::data("update_info.data", &info.data, limits)?;
        match fields::known("update_info.state", info.state)? {
            NamespaceState::Unspecified | NamespaceState::Registered | NamespaceState::Deprecated => {}
            NamespaceState::Deleted => {
                return invalid("update_info.state is DELETED, REGISTERED and DEPRECATED are allowed".to_owned());
            }
        }
    }
    if let Some(config) = &mut request.config {
        let field = "config.workflow_execution_retention_ttl";
        durations::duration(field, &mut config.workflow_execution_retention_ttl, limits)?;
        namespace_config::no_archival("config.history_archival_state", config.history_archival_state)?;
        namespace_config::no_archival("config.visibility_archival_state", config.visibility_archival_state)?;
        for (checksum, marked) in config.bad_binaries.iter().flat_map(|bad| &bad.binaries) {
            fields::required_id("config.bad_binaries.binaries[].key", checksum, limits)?;
            payloads::text("config.bad_binaries.binaries[].reason", &marked.reason, limits)?;
            fields::optional_id("config.bad_binaries.binaries[].operator", &marked.operator, limits)?;
        }
    }
    if request.promote_namespace {
        return Err(ServiceError::FailedPrecondition(
            "promote_namespace is true, but this server has one cluster: false is allowed".to_owned(),
        ));
    }
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    _: AboutNamespace,
    request: wire::UpdateNamespaceRequest,
) -> ServiceResult<wire::UpdateNamespaceResponse> {
    let settings = frontend.settings();
    let limits = &settings.limits;
    // Tools send back what they were shown.
    if let Some(replication) = &request.replication_config {
        let clusters = replication.clusters.iter().map(|cluster| cluster.cluster_name.as_str());
        namespace_config::known_clusters(clusters.chain([replication.active_cluster_name.as_str()]), settings)?;
    }
    frontend.quotas().admit_namespace_change(frontend.runtime().now())?;
    let namespace = frontend
        .namespaces()
        .update(&request.namespace, |namespace| change(namespace, &request, settings, limits))
        .await?;
    Ok(wire::UpdateNamespaceResponse {
        namespace_info: Some(namespace_config::shown_info(&namespace, settings)),
        config: Some(namespace_config::shown_config(&namespace)),
        replication_config: Some(namespace_config::shown_replication(settings)),
        ..wire::UpdateNamespaceResponse::default()
    })
}

/// Applies what is set; unset fields keep what they were.
fn change(
    namespace: &mut Namespace,
    request: &wire::UpdateNamespaceRequest,
    settings: &FrontendSettings,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    if let Some(update) = &request.update_info {
        let info = &mut namespace.info;
        if !update.description.is_empty() {
            info.description.clone_from(&update.description);
        }
        if !update.owner_email.is_empty() {
            info.owner_email.clone_from(&update.owner_email);
        }
        if update.state != NamespaceState::Unspecified as i32 {
            info.state = update.state;
        }
        info.data.extend(update.data.clone());
        namespace_config::data("data", &info.data, limits)?;
    }
    if let Some(update) = &request.config {
        let config = &mut namespace.config;
        if let Some(retention) = &update.workflow_execution_retention_ttl {
            namespace_config::retention("config.workflow_execution_retention_ttl", Some(retention), settings)?;
            config.workflow_execution_retention_ttl = Some(*retention);
        }
        if let Some(binaries) = &update.bad_binaries {
            let known = &mut config.bad_binaries.get_or_insert_default().binaries;
            known.extend(binaries.binaries.clone());
            if known.len() > MOST_BAD_BINARIES {
                let count = known.len();
                return invalid(format!(
                    "config.bad_binaries would have {count} entries, at most {MOST_BAD_BINARIES} are allowed"
                ));
            }
        }
    }
    if !request.delete_bad_binary.is_empty() {
        let known =
            config_binaries(namespace).is_some_and(|binaries| binaries.remove(&request.delete_bad_binary).is_some());
        if !known {
            return invalid(format!(
                "delete_bad_binary is {:?}, which is not marked as bad",
                fields::beginning(&request.delete_bad_binary)
            ));
        }
    }
    Ok(())
}

type Binaries = std::collections::BTreeMap<String, api::temporal::api::namespace::v1::BadBinaryInfo>;

fn config_binaries(namespace: &mut Namespace) -> Option<&mut Binaries> {
    namespace.config.bad_binaries.as_mut().map(|bad| &mut bad.binaries)
}
