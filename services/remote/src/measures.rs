//! What is counted of calls between nodes.

use calls::{Call, History, Matching, Row, Service, ServiceError};
use cluster::Sharded;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Why a call is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The ring names no owner.
    NoOwner,
    /// The called node is not the owner, or could not be reached.
    NotOwner,
    /// The ring gave the shard to another while the call was out.
    Moved,
    /// The owner is too busy, or its store away.
    Unavailable,
}

impl Reason {
    const NAMES: [&str; 4] = ["no_owner", "not_owner", "moved", "unavailable"];
}

/// The metrics, looked up once.
pub(crate) struct Measures {
    pub(crate) peers: Gauge,
    history: Vec<CallMeasures>,
    matching: Vec<CallMeasures>,
}

/// The metrics of one call, as its caller sees it.
pub(crate) struct CallMeasures {
    answered: Counter,
    refused: Counter,
    not_owner: Counter,
    unreachable: Counter,
    in_flight: Gauge,
    seconds: Histogram,
    retries: [Counter; 4],
}

impl Measures {
    pub(crate) fn new() -> Self {
        Self {
            peers: gauge!("outlast_remote_peers"),
            history: CallMeasures::of_all(<dyn History>::CALLS),
            matching: CallMeasures::of_all(<dyn Matching>::CALLS),
        }
    }

    pub(crate) fn of<C: Call>(&self) -> &CallMeasures {
        match <C::Service as Service>::SHARDED {
            Sharded::History => &self.history[C::NUMBER],
            Sharded::Matching => &self.matching[C::NUMBER],
        }
    }
}

impl CallMeasures {
    fn of_all<S: ?Sized>(calls: &[Row<S>]) -> Vec<Self> {
        calls.iter().map(|row| Self::new(row.name)).collect()
    }

    fn new(method: &'static str) -> Self {
        let calls = |outcome| counter!("outlast_remote_calls_total", "method" => method, "outcome" => outcome);
        Self {
            answered: calls("answered"),
            refused: calls("refused"),
            not_owner: calls("not_owner"),
            unreachable: calls("unreachable"),
            in_flight: gauge!("outlast_remote_calls_in_flight", "method" => method),
            seconds: histogram!("outlast_remote_call_seconds", "method" => method),
            retries: Reason::NAMES
                .map(|reason| counter!("outlast_remote_retries_total", "method" => method, "reason" => reason)),
        }
    }

    /// A call is tried again.
    pub(crate) fn retried(&self, reason: Reason) {
        self.retries[reason as usize].increment(1);
    }

    /// A call goes out.
    pub(crate) fn sent(&self) -> InFlight<'_> {
        self.in_flight.increment(1);
        InFlight(self)
    }
}

/// A call that is out. Dropped, it no longer is, however it ended.
pub(crate) struct InFlight<'a>(&'a CallMeasures);

impl InFlight<'_> {
    /// It was not answered: its peer could not be reached, or the connection broke.
    pub(crate) fn unreachable(&self) {
        self.0.unreachable.increment(1);
    }

    /// It was answered, after so many seconds.
    pub(crate) fn answered<T>(&self, result: &Result<T, ServiceError>, seconds: f64) {
        self.0.seconds.record(seconds);
        match result {
            Ok(_) => self.0.answered.increment(1),
            Err(ServiceError::NotOwner(_)) => self.0.not_owner.increment(1),
            Err(_) => self.0.refused.increment(1),
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.decrement(1);
    }
}
