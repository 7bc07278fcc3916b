//! The context of a call. Its deadline travels as the time that is left of it; receipts stay where they are.

use std::sync::Arc;

use calls::{CallContext, Namespace, Principal, ServiceResult};
use internal_api::calls as proto;

use super::required;

pub(crate) fn to_context(ctx: &CallContext) -> proto::Context {
    // Exhaustive on purpose: a principal that is known has to travel.
    match ctx.principal {
        Principal::Anonymous => {}
    }
    let namespace = &*ctx.namespace;
    let tenant = proto::Tenant {
        id: namespace.id.as_str().to_owned(),
        name: namespace.name.clone(),
        info: Some(namespace.info.clone()),
        config: Some(namespace.config.clone()),
    };
    proto::Context { tenant: Some(tenant), request_id: ctx.request_id.to_string() }
}

pub(crate) fn from_context(context: Option<proto::Context>) -> ServiceResult<CallContext> {
    let context = required(context, "context")?;
    let tenant = required(context.tenant, "tenant")?;
    let namespace = Namespace {
        id: tenant.id.into(),
        name: tenant.name,
        info: required(tenant.info, "tenant.info")?,
        config: required(tenant.config, "tenant.config")?,
    };
    Ok(CallContext::new(Arc::new(namespace)).under(&context.request_id))
}

#[cfg(test)]
mod tests {
    use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
    use prost::Message;
    use prost_types::Duration;

    use super::*;

    #[test]
    fn a_context_arrives_as_it_left_and_takes_little_room() {
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
        let ctx = CallContext::new(Arc::new(namespace)).under("0f4c2a5e");

        let sent = to_context(&ctx);
        assert!(sent.encoded_len() < 200, "{} bytes with every call", sent.encoded_len());
        let arrived = from_context(Some(proto::Context::decode(&*sent.encode_to_vec()).unwrap())).unwrap();
        assert_eq!((*arrived.namespace).clone(), *ctx.namespace);
        assert_eq!((arrived.principal, arrived.request_id), (ctx.principal, ctx.request_id));
        assert!(from_context(None).is_err());
    }
}
