//! Retry policies with their defaults, and whether and when another attempt follows.

use std::time::Duration;

use api::temporal::api::common::v1::RetryPolicy;
use api::temporal::api::enums::v1::{RetryState, TimeoutType};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::failure::v1::failure::FailureInfo;
use ids::Timestamp;

use crate::duration::{from_wire, to_wire};

/// A retry policy with defaults filled in: 1 s at first, doubling, at most 100 times the first, without end.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedRetry {
    /// Before the second attempt.
    pub initial: Duration,
    /// By how much each interval exceeds the one before; at least 1.
    pub coefficient: f64,
    /// The longest interval.
    pub maximum: Duration,
    /// Attempts in all; 0 for no limit.
    pub attempts: i32,
    /// Types of application failures that are final.
    pub non_retryable: Vec<String>,
}

/// What follows a failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum NextAttempt {
    /// Another attempt after this long.
    After(Duration),
    /// None, and why.
    Never(RetryState),
}

impl ResolvedRetry {
    /// Fills in what the policy leaves open.
    pub fn of(policy: &RetryPolicy) -> Self {
        let initial = from_wire(policy.initial_interval.as_ref()).unwrap_or(Duration::from_secs(1));
        let coefficient = if policy.backoff_coefficient == 0.0 { 2.0 } else { policy.backoff_coefficient.max(1.0) };
        Self {
            initial,
            coefficient,
            maximum: from_wire(policy.maximum_interval.as_ref()).unwrap_or(initial.saturating_mul(100)),
            attempts: policy.maximum_attempts,
            non_retryable: policy.non_retryable_error_types.clone(),
        }
    }

    /// As the API shows it.
    pub fn to_policy(&self) -> RetryPolicy {
        RetryPolicy {
            initial_interval: Some(to_wire(self.initial)),
            backoff_coefficient: self.coefficient,
            maximum_interval: Some(to_wire(self.maximum)),
            maximum_attempts: self.attempts,
            non_retryable_error_types: self.non_retryable.clone(),
        }
    }

    /// The interval after the given attempt (from 1).
    pub fn interval_after(&self, attempt: i32) -> Duration {
        let factor = self.coefficient.powi(attempt.saturating_sub(1).max(0));
        let seconds = self.initial.as_secs_f64() * factor;
        if seconds.is_finite() && seconds < self.maximum.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else {
            self.maximum
        }
    }

    /// What follows after `attempt` has failed. `deadline` is when all attempts must have ended.
    pub fn after(
        &self,
        attempt: i32,
        failure: Option<&Failure>,
        now: Timestamp,
        deadline: Option<Timestamp>,
    ) -> NextAttempt {
        if failure.is_some_and(|failure| self.is_final(failure)) {
            return NextAttempt::Never(RetryState::NonRetryableFailure);
        }
        if self.attempts > 0 && attempt >= self.attempts {
            return NextAttempt::Never(RetryState::MaximumAttemptsReached);
        }
        let wait = failure.and_then(requested_delay).unwrap_or_else(|| self.interval_after(attempt));
        if deadline.is_some_and(|deadline| now + wait >= deadline) {
            return NextAttempt::Never(RetryState::Timeout);
        }
        NextAttempt::After(wait)
    }

    fn is_final(&self, failure: &Failure) -> bool {
        match &failure.failure_info {
            Some(FailureInfo::ApplicationFailureInfo(info)) => {
                info.non_retryable || self.non_retryable.contains(&info.r#type)
            }
            Some(FailureInfo::TimeoutFailureInfo(info)) => {
                let retryable = [TimeoutType::StartToClose as i32, TimeoutType::Heartbeat as i32];
                !retryable.contains(&info.timeout_type)
                    || self.non_retryable.iter().any(|kind| kind == timeout_type_name(info.timeout_type))
            }
            Some(FailureInfo::ServerFailureInfo(info)) => info.non_retryable,
            Some(FailureInfo::CanceledFailureInfo(_) | FailureInfo::TerminatedFailureInfo(_)) => true,
            _ => false,
        }
    }
}

/// The name by which a policy may exclude a kind of timeout.
fn timeout_type_name(kind: i32) -> &'static str {
    match TimeoutType::try_from(kind) {
        Ok(TimeoutType::StartToClose) => "TemporalTimeout:StartToClose",
        Ok(TimeoutType::Heartbeat) => "TemporalTimeout:Heartbeat",
        _ => "TemporalTimeout",
    }
}

/// The delay that an application failure asks for.
fn requested_delay(failure: &Failure) -> Option<Duration> {
    match &failure.failure_info {
        Some(FailureInfo::ApplicationFailureInfo(info)) => from_wire(info.next_retry_delay.as_ref()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_double_up_to_a_hundred_times_the_first_unless_set_otherwise() {
        let retry = ResolvedRetry::of(&RetryPolicy::default());
        let seconds = |attempt| retry.interval_after(attempt).as_secs();
        assert_eq!(
            [seconds(1), seconds(2), seconds(3), seconds(7), seconds(8), seconds(1000)],
            [1, 2, 4, 64, 100, 100]
        );
    }

    #[test]
    fn a_retry_that_would_end_after_the_deadline_is_not_tried() {
        let retry = ResolvedRetry::of(&RetryPolicy::default());
        let now = Timestamp::from_millis(0);
        let at = |seconds: i64| Some(Timestamp::from_millis(seconds * 1000));
        assert_eq!(retry.after(1, None, now, at(2)), NextAttempt::After(Duration::from_secs(1)));
        assert_eq!(retry.after(2, None, now, at(2)), NextAttempt::Never(RetryState::Timeout));
    }
}
