//! ListNamespaces, in the order of their names.

use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceResult;
use settings::RequestLimits;

use super::namespace_config;
use crate::Frontend;
use crate::deadline::Call;
use crate::tokens::{self, Kind};
use crate::validation::{fields, invalid};

/// A page when the caller names no size. Count.
const DEFAULT_PAGE: usize = 100;

pub(crate) fn check(request: &mut wire::ListNamespacesRequest, limits: &RequestLimits) -> ServiceResult<()> {
    fields::page_size("page_size", request.page_size)?;
    request.page_size = request.page_size.min(limits.page_size);
    Ok(())
}

pub(crate) async fn serve(
    frontend: Frontend,
    _: Call,
    request: wire::ListNamespacesRequest,
) -> ServiceResult<wire::ListNamespacesResponse> {
    let after = match request.next_page_token.is_empty() {
        true => None,
        false => {
            match String::from_utf8(frontend.open(Kind::NamespacePage, &request.next_page_token).await?.to_vec()) {
                Ok(name) => Some(name),
                Err(_) => return invalid("next_page_token cannot be read by this server".to_owned()),
            }
        }
    };
    let size = match usize::try_from(request.page_size) {
        Ok(0) | Err(_) => DEFAULT_PAGE,
        Ok(size) => size,
    };
    // One more than asked for shows whether there is another page.
    let mut found = frontend.namespaces().page(after.as_deref(), size + 1);
    let more = found.len() > size;
    found.truncate(size);
    let last = found.last().filter(|_| more).map_or("", |namespace| namespace.name.as_str());
    let next_page_token = tokens::seal(&frontend.keys(), Kind::NamespacePage, last.as_bytes());
    let settings = frontend.settings();
    let namespaces = found.iter().map(|namespace| namespace_config::shown(namespace, settings)).collect();
    Ok(wire::ListNamespacesResponse { namespaces, next_page_token })
}
