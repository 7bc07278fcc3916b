//! What namespaces may be configured to, and how they are shown.

use std::collections::BTreeMap;

use api::temporal::api::enums::v1::{ArchivalState, ReplicationState};
use api::temporal::api::namespace::v1::namespace_info::{Capabilities, Limits};
use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use api::temporal::api::replication::v1::{ClusterReplicationConfig, NamespaceReplicationConfig};
use api::temporal::api::workflowservice::v1 as wire;
use calls::{Namespace, ServiceResult};
use prost_types::Duration;
use settings::{FrontendSettings, RequestLimits};

use crate::frontend::proto_duration;
use crate::validation::{durations, fields, invalid};

/// A retention that is set and not shorter than the shortest.
pub(super) fn retention(field: &str, value: Option<&Duration>, settings: &FrontendSettings) -> ServiceResult<()> {
    let shortest = proto_duration(settings.namespaces.shortest_retention).unwrap_or_default();
    match value {
        Some(value) if durations::nanos(value) >= durations::nanos(&shortest) => Ok(()),
        Some(value) => invalid(format!("{field} is {value}, at least {shortest} is allowed")),
        None => invalid(format!("{field} is not set, at least {shortest} is allowed")),
    }
}

/// There is one cluster; unset names mean it.
pub(super) fn known_clusters<'a>(
    names: impl IntoIterator<Item = &'a str>,
    settings: &FrontendSettings,
) -> ServiceResult<()> {
    let ours = settings.cluster_name.as_str();
    match names.into_iter().find(|name| !name.is_empty() && *name != ours) {
        None => Ok(()),
        Some(name) => invalid(format!("cluster {:?} is unknown, {ours:?} is allowed", fields::beginning(name))),
    }
}

/// There is no archive.
pub(super) fn no_archival(field: &str, value: i32) -> ServiceResult<()> {
    match fields::known::<ArchivalState>(field, value)? {
        ArchivalState::Unspecified | ArchivalState::Disabled => Ok(()),
        ArchivalState::Enabled => {
            invalid(format!("{field} is ENABLED, but this server has no archive: DISABLED is allowed"))
        }
    }
}

/// What users keep beside a namespace: every frontend holds it in memory.
pub(super) fn data(field: &str, data: &BTreeMap<String, String>, limits: &RequestLimits) -> ServiceResult<()> {
    let bytes: usize = data.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes <= limits.search_attributes_total_bytes {
        return Ok(());
    }
    invalid(format!("{field} is {bytes} bytes long, at most {} are allowed", limits.search_attributes_total_bytes))
}

/// The namespace as the API shows it.
pub(super) fn shown(namespace: &Namespace, settings: &FrontendSettings) -> wire::DescribeNamespaceResponse {
    wire::DescribeNamespaceResponse {
        namespace_info: Some(shown_info(namespace, settings)),
        config: Some(shown_config(namespace)),
        replication_config: Some(shown_replication(settings)),
        is_global_namespace: false,
        ..wire::DescribeNamespaceResponse::default()
    }
}

/// Its config. Clients look into `bad_binaries` without checking that it is there.
pub(super) fn shown_config(namespace: &Namespace) -> NamespaceConfig {
    let bad_binaries = Some(namespace.config.bad_binaries.clone().unwrap_or_default());
    NamespaceConfig { bad_binaries, ..namespace.config.clone() }
}

/// Its info, with what this server can do for it.
pub(super) fn shown_info(namespace: &Namespace, settings: &FrontendSettings) -> NamespaceInfo {
    let bytes = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    NamespaceInfo {
        capabilities: Some(Capabilities {
            eager_workflow_start: true,
            sync_update: true,
            async_update: true,
            worker_poll_complete_on_shutdown: settings.namespaces.poll_completes_on_shutdown,
            ..Capabilities::default()
        }),
        limits: Some(Limits {
            blob_size_limit_error: bytes(settings.limits.blob_bytes),
            memo_size_limit_error: bytes(settings.limits.memo_bytes),
            ..Limits::default()
        }),
        supports_schedules: false,
        ..namespace.info.clone()
    }
}

/// One cluster, always active.
pub(super) fn shown_replication(settings: &FrontendSettings) -> NamespaceReplicationConfig {
    let cluster = ClusterReplicationConfig { cluster_name: settings.cluster_name.clone(), ..Default::default() };
    NamespaceReplicationConfig {
        active_cluster_name: settings.cluster_name.clone(),
        clusters: vec![cluster],
        state: ReplicationState::Normal as i32,
    }
}
