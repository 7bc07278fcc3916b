//! What goes with every call: on whose behalf it is made, its caller, for how long, under which id, and the receipt by which the service learns whether the
//! answer was written.

use std::sync::Arc;

use api::temporal::api::enums::v1::NamespaceState;
use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use ids::{NamespaceId, Timestamp};

use crate::{Receipt, ReceiptSlot};

/// A namespace as its registry row has it.
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

/// The caller. Nothing authenticates callers yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Principal {
    /// Unknown.
    #[default]
    Anonymous,
}

/// The context of a call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The verified tenant. Nothing behind the frontend looks at a raw namespace name again.
    pub namespace: Arc<Namespace>,
    /// The caller.
    pub principal: Principal,
    /// When the answer must have left, if the caller gave a deadline. Attempts are made until then.
    pub deadline: Option<Timestamp>,
    /// The same for all attempts of a call that changes something; empty until the first of them, if the caller has none.
    pub request_id: Arc<str>,
    /// Takes the receipt of what the answer hands out. Without one, an answer counts as written when it is returned.
    pub receipts: Option<ReceiptSlot>,
}

impl CallContext {
    /// A call on behalf of a namespace's user.
    #[must_use]
    pub fn new(namespace: Arc<Namespace>) -> Self {
        Self { namespace, principal: Principal::Anonymous, deadline: None, request_id: Arc::default(), receipts: None }
    }

    /// A call that a service makes by itself for what it has of a namespace, of which it knows the id alone.
    #[must_use]
    pub fn internal(namespace: &NamespaceId) -> Self {
        Self::new(Arc::new(Namespace {
            id: namespace.clone(),
            name: String::new(),
            info: NamespaceInfo::default(),
            config: NamespaceConfig::default(),
        }))
    }

    /// The same, with an answer that must have left by `deadline`.
    #[must_use]
    pub fn until(mut self, deadline: Timestamp) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The same, under a request id of the caller's.
    #[must_use]
    pub fn under(mut self, request_id: &str) -> Self {
        self.request_id = request_id.into();
        self
    }

    /// The same, with a receipt that is left in `slot`.
    #[must_use]
    pub fn receipts_to(mut self, slot: &ReceiptSlot) -> Self {
        self.receipts = Some(slot.clone());
        self
    }

    /// Until when a call waits that waits for something to happen: not at all if its caller did not say how long.
    #[must_use]
    pub fn waits_until(&self, now: Timestamp) -> Timestamp {
        self.deadline.unwrap_or(now)
    }

    /// Leaves a receipt with the component that writes the answer. If there is none, the answer counts as written.
    pub fn attach_receipt(&self, receipt: Box<dyn Receipt>) {
        match &self.receipts {
            Some(slot) => slot.put(receipt),
            None => receipt.written(),
        }
    }
}
