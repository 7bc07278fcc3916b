//! What is tried again, how soon, and for how long.

use std::time::Duration;

use calls::ServiceError;
use ids::Timestamp;
use runtime::{Backoff, Runtime};
use settings::RemoteSettings;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Ask whoever the ring names next, soon, for as long as the caller waits.
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
        // Nobody served it here; a retry under the same request id does no harm if somebody did all the same.
        ServiceError::NotOwner(_) => Retry::AskOwner,
        // The owner sheds load or waits for its store: pressing it makes that worse, and callers try again too.
        ServiceError::Unavailable(_) => Retry::FewTimes,
        // A bound is there to be felt by callers; SDKs slow down by themselves.
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
        | ServiceError::FailedPrecondition(_)
        | ServiceError::PermissionDenied(_) => Retry::Never,
    }
}

/// How long a call is tried, and where that comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// The caller's deadline, of a call that waits: its service keeps it by itself.
    Kept(Timestamp),
    /// The caller's deadline.
    Callers(Timestamp),
    /// The caller has none, so this is as long as is reasonable.
    Usual(Timestamp),
}

impl Bound {
    /// When no more attempt begins.
    pub(crate) fn at(self) -> Timestamp {
        match self {
            Self::Kept(at) | Self::Callers(at) | Self::Usual(at) => at,
        }
    }

    /// When an attempt is abandoned.
    pub(crate) fn cut_at(self, settings: &RemoteSettings) -> Timestamp {
        match self {
            Self::Kept(at) => at + settings.late,
            Self::Callers(at) | Self::Usual(at) => at,
        }
    }

    /// What is said about a call that was abandoned: it may have taken effect.
    pub(crate) fn passed(self) -> ServiceError {
        match self {
            Self::Kept(_) | Self::Callers(_) => {
                ServiceError::DeadlineExceeded("the caller's deadline passed before there was an answer".to_owned())
            }
            Self::Usual(_) => ServiceError::Unavailable("there was no answer in time, try again".to_owned()),
        }
    }
}

/// The pauses of one call.
pub(crate) struct Pauses {
    ask_owner: Backoff,
    unavailable: Backoff,
    unavailable_left: u32,
    until: Timestamp,
    runtime: Runtime,
}

impl Pauses {
    pub(crate) fn new(settings: &RemoteSettings, until: Timestamp, runtime: Runtime) -> Self {
        Self {
            ask_owner: Backoff::new(settings.first_pause, settings.longest_pause),
            unavailable: Backoff::new(settings.unavailable_pause, Duration::MAX),
            unavailable_left: settings.unavailable_retries,
            until,
            runtime,
        }
    }

    /// How long to pause before the next attempt; `None` when there is to be none.
    pub(crate) fn before_next(&mut self, retry: Retry) -> Option<Duration> {
        let pause = match retry {
            Retry::Never => return None,
            Retry::AskOwner => self.ask_owner.next_delay(),
            Retry::FewTimes => {
                self.unavailable_left = self.unavailable_left.checked_sub(1)?;
                self.unavailable.next_delay()
            }
        };
        let pause = self.jittered(pause);
        (self.runtime.now() + pause < self.until).then_some(pause)
    }

    /// Between half of it and all: callers that failed together do not return together.
    fn jittered(&self, pause: Duration) -> Duration {
        let share = self.runtime.seed() % 1024;
        pause / 2 + pause * u32::try_from(share).unwrap_or(0) / 2048
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(patience: Duration) -> Pauses {
        let runtime = Runtime::virtual_from(Timestamp::from_millis(1_000_000));
        Pauses::new(&RemoteSettings::default(), runtime.now() + patience, runtime)
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_from_ten_milliseconds_to_two_hundred_and_are_jittered() {
        let mut pauses = pauses(Duration::from_secs(60));
        for most in [10, 20, 40, 80, 160, 200, 200, 200] {
            let pause = pauses.before_next(Retry::AskOwner).unwrap();
            let most = Duration::from_millis(most);
            assert!(pause >= most / 2 && pause <= most, "{pause:?} is not between half of {most:?} and all of it");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_owner_is_asked_a_few_times_only() {
        let mut pauses = pauses(Duration::from_secs(60));
        let tries = std::iter::from_fn(|| pauses.before_next(Retry::FewTimes)).count();
        assert_eq!(tries, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_after_the_deadline() {
        let mut pauses = pauses(Duration::from_millis(4));
        assert_eq!(pauses.before_next(Retry::AskOwner), None);
        assert_eq!(pauses.before_next(Retry::Never), None);
    }
}
