//! One listing for all callers that come before it begins. At most one is under way, so that many callers cost two.

use calls::ServiceResult;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;

/// The listings of one registry.
#[derive(Default)]
pub(super) struct Listings {
    /// How many have begun.
    begun: AtomicU64,
    /// The last that ended. Held while one is under way.
    last: Mutex<Option<Ended>>,
}

struct Ended {
    number: u64,
    outcome: ServiceResult<()>,
}

impl Listings {
    /// Returns the outcome of a listing that began after this was called: by `list`, or by another caller.
    pub(super) async fn once<F: Future<Output = ServiceResult<()>>>(
        &self,
        list: impl FnOnce() -> F,
    ) -> ServiceResult<()> {
        let before = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if let Some(ended) = last.as_ref().filter(|ended| ended.number > before) {
            return ended.outcome.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let outcome = list().await;
        *last = Some(Ended { number, outcome: outcome.clone() });
        outcome
    }
}
