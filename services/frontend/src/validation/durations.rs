//! Durations: protobuf can say things that are none.

use calls::ServiceResult;
use prost_types::Duration;
use settings::RequestLimits;

use super::invalid;

/// The longest duration that protobuf allows: 10,000 years, in seconds.
const PROTOBUF_MOST_SECONDS: i64 = 315_576_000_000;
const NANOS: i32 = 1_000_000_000;

/// A duration that is not negative. One above the longest is shortened to it: "for ever" comes in many sizes.
pub(crate) fn duration(field: &str, value: &mut Option<Duration>, limits: &RequestLimits) -> ServiceResult<()> {
    let Some(duration) = value else { return Ok(()) };
    let Duration { seconds, nanos } = *duration;
    let valid = seconds.unsigned_abs() <= PROTOBUF_MOST_SECONDS.unsigned_abs() && (-NANOS < nanos && nanos < NANOS);
    if !valid {
        return invalid(format!(
            "{field} is {seconds} s and {nanos} ns, at most {PROTOBUF_MOST_SECONDS} s and {} ns are allowed",
            NANOS - 1
        ));
    }
    if seconds < 0 || nanos < 0 {
        return invalid(format!("{field} is {seconds} s and {nanos} ns, a duration of 0 or more is allowed"));
    }
    let longest = i64::try_from(limits.longest_duration.as_secs()).unwrap_or(i64::MAX);
    if seconds >= longest {
        *duration = Duration { seconds: longest, nanos: 0 };
    }
    Ok(())
}

/// Whether a duration is there and not zero, which the API takes for "not set".
pub(crate) fn is_set(value: Option<&Duration>) -> bool {
    value.is_some_and(|duration| duration.seconds != 0 || duration.nanos != 0)
}

/// A valid duration in nanoseconds.
pub(crate) fn nanos(value: &Duration) -> i128 {
    i128::from(value.seconds) * i128::from(NANOS) + i128::from(value.nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(seconds: i64, nanos: i32) -> Result<(i64, i32), String> {
        let mut value = Some(Duration { seconds, nanos });
        duration("workflow_run_timeout", &mut value, &RequestLimits::default()).map_err(|error| error.to_string())?;
        let value = value.unwrap();
        Ok((value.seconds, value.nanos))
    }

    #[test]
    fn durations_up_to_a_century_stay_and_longer_ones_become_one() {
        let century = 100 * 365 * 24 * 3600;
        assert_eq!(checked(0, 0), Ok((0, 0)));
        assert_eq!(checked(century - 1, 999_999_999), Ok((century - 1, 999_999_999)));
        assert_eq!(checked(century, 1), Ok((century, 0)));
        // What Go's longest duration, 292 years, looks like.
        assert_eq!(checked(9_223_372_036, 854_775_807), Ok((century, 0)));
    }

    #[test]
    fn negative_and_absurd_durations_are_refused() {
        for (seconds, nanos) in [(-1, 0), (0, -1), (i64::MIN, 0), (i64::MAX, 0), (0, i32::MAX), (5, -5), (0, i32::MIN)]
        {
            assert!(checked(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
        assert_eq!(
            checked(-1, 0).unwrap_err(),
            "workflow_run_timeout is -1 s and 0 ns, a duration of 0 or more is allowed"
        );
    }
}
