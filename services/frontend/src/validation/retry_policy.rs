//! Retry policies that make no sense.

use api::temporal::api::common::v1::RetryPolicy;
use calls::ServiceResult;
use prost_types::Duration;
use settings::RequestLimits;

use super::{durations, fields, invalid};

/// The first interval when unset.
const DEFAULT_INITIAL: Duration = Duration { seconds: 1, nanos: 0 };

/// A retry policy; unset fields mean their defaults, which stay history's to fill in.
pub(crate) fn retry_policy(policy: Option<&mut RetryPolicy>, limits: &RequestLimits) -> ServiceResult<()> {
    let Some(policy) = policy else { return Ok(()) };
    durations::duration("retry_policy.initial_interval", &mut policy.initial_interval, limits)?;
    durations::duration("retry_policy.maximum_interval", &mut policy.maximum_interval, limits)?;
    let coefficient = policy.backoff_coefficient;
    if coefficient != 0.0 && !(coefficient.is_finite() && coefficient >= 1.0) {
        return invalid(format!(
            "retry_policy.backoff_coefficient is {coefficient}, 1 or more is allowed, or 0 for the default"
        ));
    }
    if policy.maximum_attempts < 0 {
        return invalid(format!(
            "retry_policy.maximum_attempts is {}, 0 (unlimited) or more is allowed",
            policy.maximum_attempts
        ));
    }
    let set = |interval: Option<Duration>| interval.filter(|interval| durations::is_set(Some(interval)));
    let initial = set(policy.initial_interval).unwrap_or(DEFAULT_INITIAL);
    if let Some(maximum) = set(policy.maximum_interval)
        && durations::nanos(&maximum) < durations::nanos(&initial)
    {
        return invalid(format!(
            "retry_policy.maximum_interval is {maximum}, at least retry_policy.initial_interval ({initial}) is allowed"
        ));
    }
    policy
        .non_retryable_error_types
        .iter()
        .try_for_each(|name| fields::optional_id("retry_policy.non_retryable_error_types", name, limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> Option<Duration> {
        Some(Duration { seconds, nanos: 0 })
    }

    #[test]
    fn policies_that_make_no_sense_are_refused_with_what_would_be_accepted() {
        let limits = RequestLimits::default();
        let refused = [
            (
                RetryPolicy { initial_interval: seconds(-1), ..RetryPolicy::default() },
                "retry_policy.initial_interval is -1 s",
            ),
            (
                RetryPolicy { maximum_interval: seconds(-1), ..RetryPolicy::default() },
                "retry_policy.maximum_interval is -1 s",
            ),
            (
                RetryPolicy { backoff_coefficient: 0.5, ..RetryPolicy::default() },
                "retry_policy.backoff_coefficient is 0.5, 1",
            ),
            (
                RetryPolicy { backoff_coefficient: f64::NAN, ..RetryPolicy::default() },
                "retry_policy.backoff_coefficient is NaN",
            ),
            (
                RetryPolicy { backoff_coefficient: f64::INFINITY, ..RetryPolicy::default() },
                "retry_policy.backoff_coefficient is inf",
            ),
            (RetryPolicy { maximum_attempts: -1, ..RetryPolicy::default() }, "retry_policy.maximum_attempts is -1"),
            (
                RetryPolicy { initial_interval: seconds(10), maximum_interval: seconds(5), ..RetryPolicy::default() },
                "retry_policy.maximum_interval is 5s, at least retry_policy.initial_interval (10s) is allowed",
            ),
        ];
        for (mut policy, beginning) in refused {
            let text = retry_policy(Some(&mut policy), &limits).unwrap_err().to_string();
            assert!(text.starts_with(beginning), "{text}");
        }
    }

    #[test]
    fn unset_fields_and_long_intervals_are_fine() {
        let limits = RequestLimits::default();
        let accepted = [
            RetryPolicy::default(),
            RetryPolicy { maximum_attempts: 1, backoff_coefficient: 1.0, ..RetryPolicy::default() },
            RetryPolicy {
                initial_interval: seconds(3 * 86_400),
                maximum_interval: seconds(0),
                ..RetryPolicy::default()
            },
        ];
        for mut policy in accepted {
            assert_eq!(retry_policy(Some(&mut policy), &limits), Ok(()), "{policy:?}");
        }
    }
}
