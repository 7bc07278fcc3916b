//! DescribeNamespace, by name or by id.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use super::namespace_config;
use crate::Frontend;
use crate::methods::AboutNamespace;
use crate::validation::{fields, invalid};

pub(crate) fn check(request: &mut wire::DescribeNamespaceRequest, limits: &RequestLimits) -> ServiceResult<()> {
    if request.namespace.is_empty() && request.id.is_empty() {
        return invalid("namespace and id are not set, one of them is needed".to_owned());
    }
    fields::optional_id("namespace", &request.namespace, limits)?;
    fields::optional_id("id", &request.id, limits)
}

pub(crate) async fn serve(
    frontend: Frontend,
    _: AboutNamespace,
    request: wire::DescribeNamespaceRequest,
) -> ServiceResult<wire::DescribeNamespaceResponse> {
    let namespaces = frontend.namespaces();
    let namespace = match request.namespace.as_str() {
        "" => namespaces.by_id(&request.id).await?,
        name => namespaces.by_name(name).await?,
    };
    if !request.id.is_empty() && namespace.id.as_str() != request.id {
        return invalid(format!(
            "namespace {:?} has the id {}, not {:?}",
            namespace.name,
            namespace.id,
            fields::beginning(&request.id)
        ));
    }
    Ok(namespace_config::shown(&namespace, frontend.settings()))
}
