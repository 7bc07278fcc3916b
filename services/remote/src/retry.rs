//! What is tried again, how soon, and for how long.

use std::time::Duration;

use calls::ServiceError;
use ids::Timestamp;
use runtime::{Backoff, Runtime};
use settings::RemoteSettings;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Ask the owner that the ring names next, soon, for as long as the caller waits.
    AskOwner,
    /// Ask again a few times, at longer intervals.
    FewTimes,
    /// It is the answer.
    Never,
}

/// The one table of what is tried again.
#[deny(clippy::wildcard_enum_match_arm)]
pub(crate) fn retry(error: &ServiceError) -> Retry {
    match error {
        // It was not served here; a retry under the same request id does no harm if it was all the same.
        ServiceError::NotOwner(_) => Retry::AskOwner,
        // The owner sheds load or waits for its store: pressing it makes that worse, and callers try again too.
        ServiceError::Unavailable(_) => Retry::FewTimes,
        // Limits reach the caller; SDKs slow down by themselves.
        ServiceError::ResourceExhausted { .. } => Retry::Never,
        // Its time is over.
        ServiceError::DeadlineExceeded(_) => Retry::Never,
        // Stored bytes do not heal, and a bug would only happen again.
        ServiceError::DataLoss(_) | ServiceError::Internal(_) | ServiceError::Unimplemented(_) => Retry::Never,
        // What the owner decided, from state that it proved to own.
        ServiceError::InvalidArgument(_)
        | ServiceError::NotFound(_)
        | ServiceError::NamespaceNotFound(_)
        | ServiceError::NamespaceAlreadyExists(_)
        | ServiceError::WorkflowAlreadyStarted { .. }
        | ServiceError::CancellationAlreadyRequested(_)
        | ServiceError::QueryFailed { .. }
        | ServiceError::WorkflowNotReady(_)
        | ServiceError::MultiOperation { .. }
        | ServiceError::FailedPrecondition(_)
        | ServiceError::PermissionDenied(_) => Retry::Never,
    }
}

/// How long a call is tried, and where that comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    /// The caller's deadline, of a call that waits: its service keeps it by itself.
    Enforced(Timestamp),
    /// The caller's deadline.
    Caller(Timestamp),
    /// The caller has none, so this is as long as is reasonable.
    Default(Timestamp),
}

impl Deadline {
    /// When no more attempt begins.
    pub(crate) fn at(self) -> Timestamp {
        match self {
            Self::Enforced(at) | Self::Caller(at) | Self::Default(at) => at,
        }
    }

    /// When an attempt is abandoned.
    pub(crate) fn abandon_at(self, settings: &RemoteSettings) -> Timestamp {
        match self {
            Self::Enforced(at) => at + settings.deadline_grace,
            Self::Caller(at) | Self::Default(at) => at,
        }
    }

    /// The error of a call that was abandoned: it may have taken effect.
    pub(crate) fn exceeded(self) -> ServiceError {
        match self {
            Self::Enforced(_) | Self::Caller(_) => {
                ServiceError::DeadlineExceeded("the caller's deadline passed before there was an answer".to_owned())
            }
            Self::Default(_) => ServiceError::Unavailable("there was no answer in time, try again".to_owned()),
        }
    }
}

/// The backoff of one call.
pub(crate) struct CallBackoff {
    ask_owner: Backoff,
    unavailable: Backoff,
    unavailable_left: u32,
    until: Timestamp,
    runtime: Runtime,
}

impl CallBackoff {
    pub(crate) fn new(settings: &RemoteSettings, until: Timestamp, runtime: Runtime) -> Self {
        Self {
            ask_owner: Backoff::new(settings.initial_backoff, settings.max_backoff),
            unavailable: Backoff::new(settings.unavailable_backoff, Duration::MAX),
            unavailable_left: settings.unavailable_retries,
            until,
            runtime,
        }
    }

    /// The delay before the next attempt; `None` when there is to be none.
    pub(crate) fn before_next(&mut self, retry: Retry) -> Option<Duration> {
        let delay = match retry {
            Retry::Never => return None,
            Retry::AskOwner => self.ask_owner.next_delay(),
            Retry::FewTimes => {
                self.unavailable_left = self.unavailable_left.checked_sub(1)?;
                self.unavailable.next_delay()
            }
        };
        let delay = self.jittered(delay);
        (self.runtime.now() + delay < self.until).then_some(delay)
    }

    /// Between half of it and all: callers that failed together do not return together.
    fn jittered(&self, delay: Duration) -> Duration {
        let share = self.runtime.seed() % 1024;
        delay / 2 + delay * u32::try_from(share).unwrap_or(0) / 2048
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(timeout: Duration) -> CallBackoff {
        let runtime = Runtime::virtual_from(Timestamp::from_millis(1_000_000));
        CallBackoff::new(&RemoteSettings::default(), runtime.now() + timeout, runtime)
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_from_ten_milliseconds_to_two_hundred_and_are_jittered() {
        let mut backoff = backoff(Duration::from_secs(60));
        for most in [10, 20, 40, 80, 160, 200, 200, 200] {
            let delay = backoff.before_next(Retry::AskOwner).unwrap();
            let most = Duration::from_millis(most);
            assert!(delay >= most / 2 && delay <= most, "{delay:?} is not between half of {most:?} and all of it");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_owner_is_asked_a_few_times_only() {
        let mut backoff = backoff(Duration::from_secs(60));
        let tries = std::iter::from_fn(|| backoff.before_next(Retry::FewTimes)).count();
        assert_eq!(tries, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_after_the_deadline() {
        let mut backoff = backoff(Duration::from_millis(4));
        assert_eq!(backoff.before_next(Retry::AskOwner), None);
        assert_eq!(backoff.before_next(Retry::Never), None);
    }
}
