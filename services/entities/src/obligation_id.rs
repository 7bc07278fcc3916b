//! The id of an obligation without the type that its kind has for it.

use std::any::Any;
use std::cmp::Ordering;
use std::fmt::{Debug, Display, Formatter};
use std::sync::Arc;

/// Identifies an obligation of an entity for as long as it is owed; the same one always has the same id. Cheap to clone.
#[derive(Clone)]
pub struct ObligationId(Arc<dyn Erased>);

trait Erased: Any + Display + Send + Sync {
    fn order(&self, other: &dyn Any) -> Ordering;
}

impl<T: Ord + Display + Send + Sync + 'static> Erased for T {
    fn order(&self, other: &dyn Any) -> Ordering {
        match other.downcast_ref::<T>() {
            Some(other) => self.cmp(other),
            None => self.type_id().cmp(&other.type_id()),
        }
    }
}

impl ObligationId {
    pub(crate) fn of<T: Ord + Display + Send + Sync + 'static>(id: T) -> Self {
        Self(Arc::new(id))
    }

    /// The id as its kind has it.
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.as_any().downcast_ref()
    }

    fn as_any(&self) -> &dyn Any {
        &*self.0
    }
}

impl Ord for ObligationId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(other.as_any())
    }
}

impl PartialOrd for ObligationId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ObligationId {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ObligationId {}

impl Display for ObligationId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.0, f)
    }
}

impl Debug for ObligationId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.0, f)
    }
}
