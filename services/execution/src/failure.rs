//! Failures: the ones the server itself makes, and cutting those that are too deep or too large.

use api::temporal::api::common::v1::Payloads;
use api::temporal::api::enums::v1::TimeoutType;
use api::temporal::api::failure::v1::failure::FailureInfo;
use api::temporal::api::failure::v1::{Failure, ServerFailureInfo, TimeoutFailureInfo};
use prost::Message;

/// How many causes deep a failure may be; prost decodes at most 100 levels of messages, and each cause is one.
pub const DEEPEST_CAUSE: usize = 50;
/// What stands in the place of causes that were cut.
const CUT_MARKER: &str = "further causes were cut by the server";

/// Cuts causes beyond [`DEEPEST_CAUSE`] levels, leaving a marker in their place.
pub fn cut_failure(failure: &mut Failure) {
    let mut level = failure;
    for _ in 1..DEEPEST_CAUSE {
        match &mut level.cause {
            Some(cause) => level = cause,
            None => return,
        }
    }
    if level.cause.is_some() {
        level.cause = Some(Box::new(server_failure(CUT_MARKER)));
    }
}

/// A failure for keeping in the state: without stack traces and causes where it exceeds `limit` bytes, and with its
/// message cut at last.
pub(crate) fn kept_failure(failure: &Failure, limit: usize) -> Failure {
    if failure.encoded_len() <= limit {
        return failure.clone();
    }
    let mut cut = Failure {
        message: cut_text(&failure.message, limit / 2),
        source: cut_text(&failure.source, 100),
        failure_info: failure.failure_info.clone(),
        stack_trace: String::new(),
        encoded_attributes: None,
        cause: None,
    };
    if cut.encoded_len() > limit {
        cut.failure_info = Some(FailureInfo::ServerFailureInfo(ServerFailureInfo { non_retryable: false }));
    }
    cut
}

/// At most `limit` bytes of text, cut between characters.
fn cut_text(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text[..end].to_owned()
}

/// A failure that the server itself reports.
pub(crate) fn server_failure(message: &str) -> Failure {
    Failure {
        message: message.to_owned(),
        source: "Server".to_owned(),
        failure_info: Some(FailureInfo::ServerFailureInfo(ServerFailureInfo { non_retryable: true })),
        ..Failure::default()
    }
}

/// A run's timeout, as the next run gets it.
pub(crate) fn workflow_timeout_failure() -> Failure {
    Failure { message: "workflow timeout".to_owned(), ..timeout_failure(TimeoutType::StartToClose, None, None) }
}

/// An activity's timeout.
pub(crate) fn timeout_failure(kind: TimeoutType, details: Option<Payloads>, cause: Option<Failure>) -> Failure {
    let message = match kind {
        TimeoutType::StartToClose => "activity StartToClose timeout",
        TimeoutType::ScheduleToStart => "activity ScheduleToStart timeout",
        TimeoutType::ScheduleToClose => "activity ScheduleToClose timeout",
        TimeoutType::Heartbeat => "activity Heartbeat timeout",
        TimeoutType::Unspecified => "activity timeout",
    };
    let info = TimeoutFailureInfo { timeout_type: kind as i32, last_heartbeat_details: details };
    Failure {
        message: message.to_owned(),
        source: "Server".to_owned(),
        cause: cause.map(Box::new),
        failure_info: Some(FailureInfo::TimeoutFailureInfo(info)),
        ..Failure::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(levels: usize) -> Failure {
        (0..levels).fold(Failure::default(), |cause, level| Failure {
            message: level.to_string(),
            cause: Some(Box::new(cause)),
            ..Failure::default()
        })
    }

    fn depth(failure: &Failure) -> usize {
        1 + failure.cause.as_deref().map_or(0, depth)
    }

    #[test]
    fn causes_beyond_fifty_levels_are_cut_with_a_marker() {
        for (levels, left) in [(0, 1), (48, 49), (49, 50), (50, 51), (90, 51)] {
            let mut failure = chain(levels);
            cut_failure(&mut failure);
            assert_eq!(depth(&failure), left, "{levels} causes");
        }
    }
}
