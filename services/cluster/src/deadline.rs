//! By when a call's answer must have left, for those on its way who would otherwise not know: whoever routes a call tries
//! again until then.

use std::future::Future;

use ids::Timestamp;

tokio::task_local! {
    static DEADLINE: Timestamp;
}

/// The deadline of the call that the present task is carrying out.
pub struct Deadline;

impl Deadline {
    /// Runs `call`, whose answer must have left by `at`.
    pub async fn within<T>(at: Timestamp, call: impl Future<Output = T>) -> T {
        DEADLINE.scope(at, call).await
    }

    /// The present call's deadline, if its caller has one.
    #[must_use]
    pub fn current() -> Option<Timestamp> {
        DEADLINE.try_with(|at| *at).ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_deadline_is_known_within_its_call_only() {
        let at = Timestamp::from_millis(7);
        assert_eq!(Deadline::within(at, async { Deadline::current() }).now_or_never(), Some(Some(at)));
        assert_eq!(Deadline::current(), None);
    }
}
