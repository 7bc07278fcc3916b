//! On whose behalf a call is made.

use std::sync::Arc;

use cluster::{Namespace, ServiceResult, TenantCtx};
use internal_api::history as proto;

use super::required;

pub(crate) fn to_tenant(ctx: &TenantCtx) -> Option<proto::Tenant> {
    let namespace = &*ctx.namespace;
    Some(proto::Tenant {
        id: namespace.id.as_str().to_owned(),
        name: namespace.name.clone(),
        info: Some(namespace.info.clone()),
        config: Some(namespace.config.clone()),
    })
}

pub(crate) fn from_tenant(tenant: Option<proto::Tenant>) -> ServiceResult<TenantCtx> {
    let tenant = required(tenant, "tenant")?;
    Ok(TenantCtx {
        namespace: Arc::new(Namespace {
            id: tenant.id.into(),
            name: tenant.name,
            info: required(tenant.info, "tenant.info")?,
            config: required(tenant.config, "tenant.config")?,
        }),
    })
}

#[cfg(test)]
mod tests {
    use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
    use prost::Message;
    use prost_types::Duration;

    use super::*;

    #[test]
    fn a_tenant_arrives_as_it_left_and_takes_little_room() {
        let id = "0f4c2a5e-9c7e-4d0e-8a53-1f0d8f1b7c11";
        let info = NamespaceInfo {
            name: "orders".to_owned(),
            state: 1,
            description: "orders of the shop".to_owned(),
            owner_email: "shop@example.com".to_owned(),
            data: [("team".to_owned(), "shop".to_owned())].into(),
            id: id.to_owned(),
            ..NamespaceInfo::default()
        };
        let config = NamespaceConfig {
            workflow_execution_retention_ttl: Some(Duration { seconds: 259_200, nanos: 0 }),
            ..NamespaceConfig::default()
        };
        let namespace = Namespace { id: id.into(), name: "orders".to_owned(), info, config };
        let ctx = TenantCtx { namespace: Arc::new(namespace) };

        let sent = to_tenant(&ctx).unwrap();
        assert!(sent.encoded_len() < 200, "{} bytes with every call", sent.encoded_len());
        let arrived = from_tenant(Some(proto::Tenant::decode(&*sent.encode_to_vec()).unwrap())).unwrap();
        assert_eq!(*arrived.namespace, *ctx.namespace);
        assert!(from_tenant(None).is_err());
    }
}
