//! What the headers of a request say: when its answer must have left, which is the caller's deadline, less what the way
//! back takes, and what kind of reader the caller is.

use std::sync::Arc;
use std::time::Duration;

use api::texts;
use calls::{CallContext, Namespace, ReceiptSlot, ServiceError, ServiceResult, UnwrittenEvents};
use ids::Timestamp;
use settings::LongPollSettings;
use tonic::metadata::MetadataMap;

/// What the transport says of a request, in its extensions.
#[derive(Clone)]
pub(crate) struct Received {
    /// When the answer must have left, if the caller gave a deadline.
    pub(crate) deadline: Option<Timestamp>,
    /// Where a receipt is looked for once there is an answer.
    pub(crate) receipts: ReceiptSlot,
}

/// When a request arrived, how long its caller waits, and the caller.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// When the handler began.
    pub(crate) arrived: Timestamp,
    /// The caller's `grpc-timeout`.
    pub(crate) timeout: Option<Duration>,
    /// What the caller is shown of events that are not written yet.
    pub(crate) unwritten: UnwrittenEvents,
    /// When the answer must have left, if the caller gave a deadline.
    deadline: Option<Timestamp>,
    receipts: Option<ReceiptSlot>,
}

impl Call {
    /// A call that arrives now with these headers, by way of the transport.
    pub(crate) fn new(arrived: Timestamp, metadata: &MetadataMap, received: Option<&Received>) -> Self {
        let header = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        Self {
            arrived,
            timeout: header("grpc-timeout").and_then(parse_timeout),
            unwritten: unwritten_for(header("client-name")),
            deadline: received.and_then(|received| received.deadline),
            receipts: received.map(|received| received.receipts.clone()),
        }
    }

    /// The context in which services are called for it.
    pub(crate) fn context(&self, namespace: Arc<Namespace>) -> CallContext {
        let context = CallContext::new(namespace);
        CallContext { deadline: self.deadline, receipts: self.receipts.clone(), ..context }
    }

    /// When a poll of a task queue ends empty. Refused when the caller waits less than the shortest poll.
    pub(crate) fn poll_deadline(&self, settings: &LongPollSettings) -> ServiceResult<Timestamp> {
        if let Some(timeout) = self.timeout
            && timeout < settings.shortest
        {
            return Err(ServiceError::FailedPrecondition(format!(
                "{} grpc-timeout of a poll is {timeout:?}, at least {:?} is needed",
                texts::POLL_TOO_SHORT,
                settings.shortest
            )));
        }
        // Unlike other waits, a poll keeps the whole margin: what was matched to it must reach its worker.
        let wait = self.timeout.map_or(settings.task_queue, |timeout| timeout.saturating_sub(settings.margin));
        Ok(self.arrived + wait.min(settings.task_queue))
    }

    /// When a wait of at most `longest` ends: ahead of the caller's deadline by `margin`, or by a fifth of a short one.
    pub(crate) fn deadline(&self, longest: Duration, margin: Duration) -> Timestamp {
        let wait = self.timeout.map_or(longest, |timeout| longest.min(timeout - margin.min(timeout / 5)));
        self.arrived + wait
    }
}

/// Command line and web page show people what has happened; any other client may be a worker, which needs its own task.
fn unwritten_for(client_name: Option<&str>) -> UnwrittenEvents {
    match client_name {
        Some("temporal-cli" | "temporal-ui") => UnwrittenEvents::Hidden,
        _ => UnwrittenEvents::Shown,
    }
}

/// Reads a `grpc-timeout`: at most eight digits and a unit.
pub(crate) fn parse_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(value * 3600),
        'M' => Duration::from_secs(value * 60),
        'S' => Duration::from_secs(value),
        'm' => Duration::from_millis(value),
        'u' => Duration::from_micros(value),
        'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(timeout: Option<Duration>) -> Call {
        Call { timeout, ..Call::new(Timestamp::from_millis(1_000_000), &MetadataMap::new(), None) }
    }

    fn wait(timeout: Option<Duration>) -> ServiceResult<Duration> {
        let call = call(timeout);
        call.poll_deadline(&LongPollSettings::default()).map(|deadline| deadline.since(call.arrived))
    }

    #[test]
    fn a_poll_answers_a_second_before_its_callers_deadline_and_never_later_than_the_longest_poll() {
        assert_eq!(wait(None), Ok(Duration::from_secs(60)));
        assert_eq!(wait(Some(Duration::from_secs(70))), Ok(Duration::from_secs(60)));
        assert_eq!(wait(Some(Duration::from_secs(60))), Ok(Duration::from_secs(59)));
        assert_eq!(wait(Some(Duration::from_secs(2))), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn a_poll_that_its_caller_would_not_wait_for_is_refused() {
        let error = wait(Some(Duration::from_millis(1999))).unwrap_err();
        assert_eq!(
            error,
            ServiceError::FailedPrecondition(
                "Context timeout is too short. grpc-timeout of a poll is 1.999s, at least 2s is needed".to_owned()
            )
        );
    }

    #[test]
    fn a_short_wait_keeps_most_of_its_time() {
        let call = call(Some(Duration::from_millis(500)));
        let deadline = call.deadline(Duration::from_secs(10), Duration::from_secs(1));
        assert_eq!(deadline.since(call.arrived), Duration::from_millis(400));
    }

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let table = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("70S", Some(Duration::from_secs(70))),
            ("5m", Some(Duration::from_millis(5))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("999999999n", None),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("1é", None),
            ("1x", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_timeout(text), expected, "{text:?}");
        }
    }
}
