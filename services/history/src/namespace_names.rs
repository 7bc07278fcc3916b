//! What namespaces are called. Stored data knows them by id only; activity tasks and children carry the name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use calls::{CallContext, Namespace};
use ids::NamespaceId;

/// Looks a namespace's name up by its id, for those that no request has named since the start.
pub type LookUpName = Arc<dyn Fn(&NamespaceId) -> Option<Arc<Namespace>> + Send + Sync>;

/// Names learned from requests.
pub(crate) struct NamespaceNames {
    known: RwLock<HashMap<NamespaceId, Arc<Namespace>>>,
    look_up: LookUpName,
}

impl NamespaceNames {
    /// Asks `look_up` for names that no request has carried.
    pub(crate) fn new(look_up: LookUpName) -> Self {
        Self { known: RwLock::default(), look_up }
    }

    /// Notes what a request says.
    pub(crate) fn learn(&self, ctx: &CallContext) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(&ctx.namespace.id).is_some_and(|namespace| Arc::ptr_eq(namespace, &ctx.namespace)) {
            return;
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(ctx.namespace.id.clone(), Arc::clone(&ctx.namespace));
    }

    /// The name, or nothing.
    pub(crate) fn name_of(&self, id: &NamespaceId) -> String {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        known.or_else(|| (self.look_up)(id)).map(|namespace| namespace.name.clone()).unwrap_or_default()
    }
}
