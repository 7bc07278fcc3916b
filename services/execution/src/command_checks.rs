//! Checks that requests and commands share. Messages name the field, the value and what is allowed.

use std::time::Duration;

use api::Held;
use api::temporal::api::common::v1::{Payload, Payloads, RetryPolicy, SearchAttributes};
use prost::Message;

use crate::duration::from_wire;

/// Search attributes on one workflow.
const ATTRIBUTES_MAX: usize = 100;
/// One value.
const ATTRIBUTE_BYTES_MAX: usize = 2 * 1024;
/// All of them.
const ATTRIBUTES_BYTES_MAX: usize = 40 * 1024;
/// Names that only the server may set.
const SYSTEM_ATTRIBUTES: &[&str] = &[
    "WorkflowId",
    "RunId",
    "WorkflowType",
    "StartTime",
    "ExecutionTime",
    "CloseTime",
    "ExecutionStatus",
    "TaskQueue",
    "HistoryLength",
    "HistorySizeBytes",
    "ExecutionDuration",
    "StateTransitionCount",
    "ParentWorkflowId",
    "ParentRunId",
    "RootWorkflowId",
    "RootRunId",
];

/// A name without control characters (Unicode's category Cc), which break what shows, greps or exports it.
pub fn checked_name(field: &str, name: &str) -> Result<(), String> {
    let Some((position, character)) = name.char_indices().find(|(_, character)| character.is_control()) else {
        return Ok(());
    };
    let code = u32::from(character);
    Err(format!("{field} has the control character U+{code:04X} at byte {position}, names have none"))
}

/// A run id is a UUID.
pub fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The longest duration that is accepted: 10,000 years, which covers what SDKs send for "for ever".
pub const LONGEST_DURATION_SECONDS: i64 = 10_000 * 365 * 24 * 3600;
/// The longest that is kept: accepted ones above 100 years are shortened to it, as in requests.
const LONGEST_KEPT_SECONDS: i64 = 100 * 365 * 24 * 3600;

/// A duration of a command: `None` when unset or zero; negative and absurd ones are refused.
pub fn checked_duration(field: &str, duration: &mut Option<prost_types::Duration>) -> Result<Option<Duration>, String> {
    let Some(given) = duration else { return Ok(None) };
    let (seconds, nanos) = (given.seconds, given.nanos);
    if seconds < 0 || nanos < 0 {
        return Err(format!("{field} {seconds}s {nanos}ns must not be negative"));
    }
    if seconds > LONGEST_DURATION_SECONDS || nanos > 999_999_999 {
        return Err(format!(
            "{field} {seconds}s {nanos}ns must be at most {LONGEST_DURATION_SECONDS}s, with nanos below 1e9"
        ));
    }
    if seconds >= LONGEST_KEPT_SECONDS {
        *given = prost_types::Duration { seconds: LONGEST_KEPT_SECONDS, nanos: 0 };
    }
    Ok(from_wire(duration.as_ref()))
}

/// A retry policy that makes sense.
pub fn checked_retry_policy(policy: Option<&RetryPolicy>) -> Result<(), String> {
    let Some(policy) = policy else { return Ok(()) };
    let initial = checked_duration("RetryPolicy.InitialInterval", &mut policy.initial_interval.clone())?;
    let maximum = checked_duration("RetryPolicy.MaximumInterval", &mut policy.maximum_interval.clone())?;
    let coefficient = policy.backoff_coefficient;
    if coefficient != 0.0 && !(coefficient.is_finite() && coefficient >= 1.0) {
        return Err(format!("RetryPolicy.BackoffCoefficient {coefficient} must be at least 1"));
    }
    if let (Some(initial), Some(maximum)) = (initial, maximum)
        && maximum < initial
    {
        return Err(format!("RetryPolicy.MaximumInterval {maximum:?} must not be below InitialInterval {initial:?}"));
    }
    if policy.maximum_attempts < 0 {
        return Err(format!("RetryPolicy.MaximumAttempts {} must not be negative", policy.maximum_attempts));
    }
    let field = "RetryPolicy.NonRetryableErrorTypes";
    policy.non_retryable_error_types.iter().try_for_each(|name| checked_name(field, name))
}

/// Search attributes within the limits, none of them the server's own, system-typed ones of the right type.
pub fn checked_search_attributes(attributes: &SearchAttributes) -> Result<(), String> {
    let count = attributes.indexed_fields.len();
    if count > ATTRIBUTES_MAX {
        return Err(format!("SearchAttributes has {count} keys, at most {ATTRIBUTES_MAX} are allowed"));
    }
    let mut total = 0;
    for (name, value) in &attributes.indexed_fields {
        if name.is_empty() {
            return Err("SearchAttributes has an empty key".to_owned());
        }
        checked_name("SearchAttributes key", name)?;
        if SYSTEM_ATTRIBUTES.contains(&name.as_str()) {
            return Err(format!("SearchAttributes {name:?} is set by the server only"));
        }
        let size = value.data.len();
        if size > ATTRIBUTE_BYTES_MAX {
            return Err(format!(
                "SearchAttributes {name:?} has {size} bytes, at most {ATTRIBUTE_BYTES_MAX} are allowed"
            ));
        }
        check_predefined(name, value)?;
        total += name.len() + size;
    }
    if total > ATTRIBUTES_BYTES_MAX {
        return Err(format!("SearchAttributes has {total} bytes, at most {ATTRIBUTES_BYTES_MAX} are allowed"));
    }
    Ok(())
}

/// Predefined attributes have known types.
fn check_predefined(name: &str, value: &Payload) -> Result<(), String> {
    let first = value.data.first().copied().unwrap_or(b'n');
    let (fits, kind) = match name {
        "TemporalChangeVersion" | "BinaryChecksums" | "BuildIds" | "TemporalUsedWorkerDeploymentVersions" => {
            (matches!(first, b'[' | b'"' | b'n'), "a list of keywords")
        }
        "TemporalScheduledById"
        | "TemporalNamespaceDivision"
        | "BatcherNamespace"
        | "BatcherUser"
        | "TemporalScheduledStartTime" => (matches!(first, b'"' | b'n'), "a string"),
        "TemporalSchedulePaused" => (matches!(first, b't' | b'f' | b'n'), "a bool"),
        _ => return Ok(()),
    };
    if fits { Ok(()) } else { Err(format!("SearchAttributes {name:?} must be {kind}, encoded as JSON")) }
}

/// A text as payloads, for details that the server makes up.
pub(crate) fn text_payloads(text: &str) -> Payloads {
    let payload = Payload {
        metadata: [("encoding".to_owned(), bytes::Bytes::from_static(b"json/plain"))].into(),
        data: format!("{text:?}").into(),
        ..Payload::default()
    };
    Payloads { payloads: vec![payload] }
}

/// Refuses a value with more entries in its lists and maps than a limit: they take hundreds of bytes each, however short.
pub(crate) fn checked_elements(field: &str, value: Option<&impl Held>, limit: usize) -> Result<(), String> {
    let count = value.map_or(0, Held::elements);
    if count <= limit {
        return Ok(());
    }
    Err(format!("{field} has {count} elements, at most {limit} are allowed"))
}

/// Refuses a message above a limit.
pub fn checked_size(field: &str, message: Option<&impl Message>, limit: usize) -> Result<(), String> {
    let size = message.map_or(0, Message::encoded_len);
    if size <= limit {
        return Ok(());
    }
    Err(format!("{field} has {size} bytes, at most {limit} are allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_control_characters_and_may_have_any_other() {
        for name in ["", "order 1", "Bestellung/ß", "注文-1", "🦀", "a\u{200d}b", "a\u{202e}b"] {
            assert_eq!(checked_name("TimerId", name), Ok(()), "{name:?}");
        }
        for (name, text) in [
            ("\0", "U+0000 at byte 0"),
            ("order\n1", "U+000A at byte 5"),
            ("é\u{1b}[2J", "U+001B at byte 2"),
            ("order\u{7f}", "U+007F at byte 5"),
            ("\u{85}", "U+0085 at byte 0"),
        ] {
            let expected = format!("TimerId has the control character {text}, names have none");
            assert_eq!(checked_name("TimerId", name), Err(expected));
        }
    }
}
