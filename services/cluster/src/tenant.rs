//! On whose behalf a call is made.

use std::sync::Arc;

use api::temporal::api::enums::v1::NamespaceState;
use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use ids::NamespaceId;

/// A namespace as its registry row tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    /// Its id, for ever.
    pub id: NamespaceId,
    /// Its name.
    pub name: String,
    /// Description, owner, state, data: as the API shows them.
    pub info: NamespaceInfo,
    /// Retention and the like.
    pub config: NamespaceConfig,
}

impl Namespace {
    /// Whether new work may be accepted.
    pub fn is_registered(&self) -> bool {
        self.info.state == NamespaceState::Registered as i32
    }
}

/// A request's verified tenant. Nothing behind the frontend looks at a raw namespace name again.
#[derive(Clone, Debug)]
pub struct TenantCtx {
    /// The namespace.
    pub namespace: Arc<Namespace>,
}
