//! Failures: chains of causes that are too deep, and failures that are too large.

use api::Held;
use api::temporal::api::failure::v1::failure::FailureInfo;
use api::temporal::api::failure::v1::{Failure, ServerFailureInfo};
use prost::Message;
use settings::RequestLimits;

/// What is kept of a failure that is too large for a blob.
const KEPT_BYTES: usize = 16 * 1024;

/// Cuts chains of causes that are too deep to be stored, leaving a marker.
pub(crate) fn cut_causes(failure: Option<&mut Failure>) {
    if let Some(failure) = failure {
        execution::cut_failure(failure);
    }
}

/// Makes a failure one that can be stored: not too deep, and short enough for one blob.
pub(crate) fn fit(failure: Option<&mut Failure>, limits: &RequestLimits) {
    let Some(failure) = failure else { return };
    execution::cut_failure(failure);
    let bytes = failure.encoded_len();
    let elements = failure.elements();
    if bytes > limits.blob_bytes || elements > limits.elements {
        let mut whole = server_failure(match elements > limits.elements {
            true => format!("failure has {elements} elements, at most {} are kept", limits.elements),
            false => format!("failure is {bytes} bytes long, at most {} are kept", limits.blob_bytes),
        });
        whole.cause = Some(Box::new(shortened(failure, KEPT_BYTES)));
        *failure = whole;
    }
}

/// A failure of the server's making, which is not retried.
pub(crate) fn server_failure(message: String) -> Failure {
    Failure {
        message,
        source: "Server".to_owned(),
        failure_info: Some(FailureInfo::ServerFailureInfo(ServerFailureInfo { non_retryable: true })),
        ..Failure::default()
    }
}

/// `failure` if it fits into `bytes`, else what of its message and stack trace does, without details and causes.
pub(crate) fn shortened(failure: &Failure, bytes: usize) -> Failure {
    if failure.encoded_len() <= bytes {
        return failure.clone();
    }
    // A quarter is kept free for field headers and the source.
    let half = bytes * 3 / 8;
    Failure {
        message: prefix(&failure.message, half).to_owned(),
        stack_trace: prefix(&failure.stack_trace, half).to_owned(),
        source: prefix(&failure.source, bytes / 8).to_owned(),
        failure_info: failure.failure_info.as_ref().and_then(without_details),
        ..Failure::default()
    }
}

/// Keeps what callers branch on where it is small.
fn without_details(info: &FailureInfo) -> Option<FailureInfo> {
    match info {
        FailureInfo::ApplicationFailureInfo(application) if application.r#type.len() <= 64 => {
            let mut kept = application.clone();
            kept.details = None;
            Some(FailureInfo::ApplicationFailureInfo(kept))
        }
        FailureInfo::ServerFailureInfo(server) => Some(FailureInfo::ServerFailureInfo(*server)),
        _ => None,
    }
}

fn prefix(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(causes: usize) -> Failure {
        (0..causes).fold(Failure { message: format!("level {causes}"), ..Failure::default() }, |inner, level| Failure {
            message: format!("level {}", causes - 1 - level),
            cause: Some(Box::new(inner)),
            ..Failure::default()
        })
    }

    fn messages(failure: &Failure) -> Vec<&str> {
        std::iter::successors(Some(failure), |failure| failure.cause.as_deref())
            .map(|failure| failure.message.as_str())
            .collect()
    }

    #[test]
    fn fifty_levels_stay_and_the_rest_becomes_a_marker() {
        let mut short = chain(49);
        cut_causes(Some(&mut short));
        assert_eq!(messages(&short).len(), 50);
        assert_eq!(messages(&short).last(), Some(&"level 49"));

        let mut deep = chain(90);
        cut_causes(Some(&mut deep));
        let kept = messages(&deep);
        assert_eq!(kept.len(), 51);
        assert_eq!(kept[49], "level 49");
        assert!(kept[50].contains("cut"), "{}", kept[50]);
    }

    #[test]
    fn a_failure_that_is_too_large_keeps_the_beginning_of_its_message() {
        let failure = Failure {
            message: "é".repeat(5000),
            stack_trace: "at line\n".repeat(5000),
            cause: Some(Box::new(chain(5))),
            ..Failure::default()
        };
        let short = shortened(&failure, 3000);
        assert!(short.encoded_len() <= 3000, "{}", short.encoded_len());
        assert!(short.message.starts_with("éé"));
        assert_eq!(short.cause, None);
        assert_eq!(shortened(&chain(2), 3000), chain(2));
    }
}
