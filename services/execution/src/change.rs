//! Durable facts about a workflow ID, and how the log holds them.

use std::sync::Arc;

use api::Held;
use api::temporal::api::history::v1::{History, HistoryEvent};
use bytes::Bytes;
use prost::Message;

use crate::chain::ChainFact;
use crate::pending::ActivityProgress;
use crate::row::RunRow;
use crate::workflow_task::TaskStart;

/// One durable fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// About the chain of runs.
    Chain(ChainFact),
    /// About a run: all that one transition did to it.
    Run(RunChange),
}

/// All that one transition did to a run, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct RunChange {
    /// The run.
    pub run_id: String,
    /// What happened, in order.
    pub steps: Vec<Step>,
    /// The events among the steps.
    pub batch: Option<Arc<Batch>>,
}

impl RunChange {
    /// Whether the run begins as a copy of another, so that its first events are not among these.
    pub fn forks(&self) -> bool {
        matches!(self.steps.first(), Some(Step::Fact(Fact::Forked(_))))
    }
}

/// A step of a transition.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The next event of the batch.
    Event,
    /// An internal fact.
    Fact(Fact),
}

/// Facts that are no events: clients never see them in a history.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Fact {
    /// An activity's attempt, heartbeat or cancellation.
    #[prost(message, tag = "11")]
    Activity(Box<ActivityMoved>),
    /// An event that waits for the workflow task to end. It has taken effect already.
    #[prost(message, tag = "12")]
    Buffered(Box<HistoryEvent>),
    /// The buffered events are now in the history, or dropped with the run's close.
    #[prost(message, tag = "13")]
    Unbuffered(Empty),
    /// A fired timer was cancelled while its event was still buffered: take that event out.
    #[prost(string, tag = "14")]
    UnbufferedTimer(String),
    /// The sticky queue; empty for none. A task that waits for its worker goes to the normal queue then.
    #[prost(message, tag = "15")]
    Sticky(Sticky),
    /// The first task's backoff is over (or 0) or lasts until then.
    #[prost(int64, tag = "16")]
    FirstTaskAt(i64),
    /// The request that asked for cancellation.
    #[prost(string, tag = "17")]
    CancelRequestId(String),
    /// The parent close policy has been carried out on this child, or it need not be.
    #[prost(int64, tag = "18")]
    ChildReleased(i64),
    /// A closed run's child turned out to have started.
    #[prost(message, tag = "19")]
    ChildStarted(ChildStarted),
    /// Whether the parent is owed word of the close.
    #[prost(bool, tag = "20")]
    OwesParent(bool),
    /// The request that started the run.
    #[prost(string, tag = "21")]
    StartRequestId(String),
    /// A transient attempt of the workflow task is scheduled.
    #[prost(message, tag = "22")]
    TransientScheduled(TransientScheduled),
    /// It is started.
    #[prost(message, tag = "23")]
    TransientStarted(TaskStart),
    /// It ends by a failure or a timeout, and leaves no trace in the history but the count of failures.
    #[prost(message, tag = "24")]
    TransientFailed(Empty),
    /// Its backoff is over.
    #[prost(message, tag = "25")]
    TransientDue(Empty),
    /// Matching has persisted the workflow task.
    #[prost(message, tag = "26")]
    TaskBacklogged(Empty),
    /// While the workflow task is started, signals wait outside.
    #[prost(message, tag = "27")]
    SignalsKeptOut(Empty),
    /// The workflow task goes on with a chain of task heartbeats, whose first one was scheduled then.
    #[prost(int64, tag = "28")]
    HeartbeatsSince(i64),
    /// The workflow task was dispatched under this stamp before its events were written.
    #[prost(int64, tag = "29")]
    TaskDispatched(i64),
    /// The run begins as a copy of another, with this state. Comes first of all.
    #[prost(message, tag = "30")]
    Forked(Box<RunRow>),
    /// A reset has made the run, then.
    #[prost(int64, tag = "31")]
    ResetAt(i64),
    /// A reset of this run has made that one.
    #[prost(string, tag = "32")]
    ResetTo(String),
    /// The workflow has rejected an update that the history has as admitted.
    #[prost(string, tag = "33")]
    UpdateRejected(String),
}

impl Fact {
    /// An activity is at another point now.
    pub(crate) fn moved(scheduled_event_id: i64, progress: ActivityProgress) -> Self {
        Self::Activity(Box::new(ActivityMoved { scheduled_event_id, progress }))
    }
}

/// Nothing.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Empty {}

/// A transient attempt. Times in nanoseconds since the epoch.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct TransientScheduled {
    /// The id that its WorkflowTaskScheduled event would have.
    #[prost(int64, tag = "1")]
    pub scheduled_event_id: i64,
    /// From 2.
    #[prost(int32, tag = "2")]
    pub attempt: i32,
    /// When.
    #[prost(int64, tag = "3")]
    pub scheduled_at: i64,
    /// Start to close.
    #[prost(int64, tag = "4")]
    pub timeout_nanos: i64,
    /// Until when it backs off, if it does.
    #[prost(int64, optional, tag = "5")]
    pub backoff_until: Option<i64>,
}

/// An activity's progress.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ActivityMoved {
    /// Which.
    #[prost(int64, tag = "1")]
    pub scheduled_event_id: i64,
    /// Where it is now.
    #[prost(message, required, tag = "2")]
    pub progress: ActivityProgress,
}

/// A sticky queue.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sticky {
    /// Its name.
    #[prost(string, tag = "1")]
    pub queue: String,
    /// Schedule to start.
    #[prost(int64, tag = "2")]
    pub timeout_nanos: i64,
}

/// A child's start.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChildStarted {
    /// Which.
    #[prost(int64, tag = "1")]
    pub initiated_event_id: i64,
    /// Its first run.
    #[prost(string, tag = "2")]
    pub run_id: String,
}

/// The events of one transition: a history row, byte for byte what the log holds. Decoded events are many times as large,
/// so only the bytes stay in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The first event's id: the row's key.
    pub first_event_id: i64,
    /// How many there are, with contiguous ids.
    pub count: usize,
    /// An encoded `temporal.api.history.v1.History`.
    pub bytes: Bytes,
}

impl Batch {
    /// Encodes events.
    pub fn new(events: Vec<HistoryEvent>) -> Self {
        let mut draft = BatchDraft::default();
        events.iter().for_each(|event| draft.push(event));
        draft.close().unwrap_or_else(|| Self { first_event_id: 0, count: 0, bytes: Bytes::new() })
    }

    /// From a stored row or group, copied, since a slice would keep the whole group in memory.
    pub fn decode(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let bytes = Bytes::copy_from_slice(bytes);
        let events = History::decode(bytes.clone())?.events;
        let first_event_id = events.first().map_or(0, |event| event.event_id);
        Ok(Self { first_event_id, count: events.len(), bytes })
    }

    /// The events.
    pub fn events(&self) -> Vec<HistoryEvent> {
        // The bytes have been encoded, or decoded, by the constructors.
        History::decode(self.bytes.clone()).map(|history| history.events).unwrap_or_default()
    }

    /// The last event's id.
    pub fn last_event_id(&self) -> i64 {
        self.first_event_id + self.count as i64 - 1
    }
}

/// A batch in the making: each event is encoded once, as it comes, for log and history alike.
#[derive(Default)]
pub(crate) struct BatchDraft {
    first_event_id: i64,
    count: usize,
    bytes: Vec<u8>,
}

/// What an event takes in a batch.
pub(crate) fn event_bytes(event: &HistoryEvent) -> usize {
    prost::encoding::message::encoded_len(EVENTS_TAG, event)
}

/// The tag of the events of a `temporal.api.history.v1.History`.
const EVENTS_TAG: u32 = 1;

impl BatchDraft {
    pub(crate) fn push(&mut self, event: &HistoryEvent) {
        if self.count == 0 {
            self.first_event_id = event.event_id;
        }
        self.count += 1;
        prost::encoding::message::encode(EVENTS_TAG, event, &mut self.bytes);
    }

    /// The batch, if it has events.
    pub(crate) fn close(self) -> Option<Batch> {
        let Self { first_event_id, count, bytes } = self;
        // To its exact size, as it stays in memory.
        (count > 0).then(|| Batch { first_event_id, count, bytes: bytes.into_boxed_slice().into() })
    }
}

/// The format of changes that this release writes; it reads no other.
const FORMAT: u32 = 4;

/// A change as the log holds it.
#[derive(Clone, PartialEq, prost::Message)]
struct ChangeRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, tag = "2")]
    run_id: String,
    #[prost(message, repeated, tag = "3")]
    steps: Vec<StepRecord>,
    #[prost(bytes = "bytes", tag = "4")]
    batch: Bytes,
    #[prost(message, optional, tag = "5")]
    chain: Option<ChainFact>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StepRecord {
    /// How many events come before the fact.
    #[prost(uint32, tag = "1")]
    events: u32,
    #[prost(
        oneof = "Fact",
        tags = "11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33"
    )]
    fact: Option<Fact>,
}

impl Change {
    /// For the log.
    pub fn encode(&self) -> Bytes {
        let record = match self {
            Self::Chain(fact) => ChangeRecord { chain: Some(fact.clone()), format: FORMAT, ..ChangeRecord::default() },
            Self::Run(change) => ChangeRecord {
                run_id: change.run_id.clone(),
                steps: pack(&change.steps),
                batch: change.batch.as_ref().map(|batch| batch.bytes.clone()).unwrap_or_default(),
                chain: None,
                format: FORMAT,
            },
        };
        record.encode_to_vec().into()
    }

    /// From the log. The error says what is wrong with the bytes.
    pub fn decode(bytes: Bytes) -> Result<Self, String> {
        let record = ChangeRecord::decode(bytes).map_err(|error| error.to_string())?;
        if record.format != FORMAT {
            return Err(format!("change format {} is unknown; this release reads {FORMAT}", record.format));
        }
        if let Some(fact) = record.chain {
            return Ok(Self::Chain(fact));
        }
        let batch = (!record.batch.is_empty()).then(|| Batch::decode(&record.batch)).transpose();
        let batch = batch.map_err(|error| error.to_string())?;
        Ok(Self::Run(RunChange { run_id: record.run_id, steps: unpack(record.steps), batch: batch.map(Arc::new) }))
    }
}

fn pack(steps: &[Step]) -> Vec<StepRecord> {
    let mut packed: Vec<StepRecord> = Vec::new();
    let mut events = 0;
    for step in steps {
        match step {
            Step::Event => events += 1,
            Step::Fact(fact) => {
                packed.push(StepRecord { events: std::mem::take(&mut events), fact: Some(fact.clone()) })
            }
        }
    }
    if events > 0 {
        packed.push(StepRecord { events, fact: None });
    }
    packed
}

fn unpack(records: Vec<StepRecord>) -> Vec<Step> {
    let mut steps = Vec::new();
    for record in records {
        steps.extend((0..record.events).map(|_| Step::Event));
        steps.extend(record.fact.map(owned_fact).map(Step::Fact));
    }
    steps
}

/// The record's bytes are a slice of the group that it was logged with.
fn owned_fact(mut fact: Fact) -> Fact {
    match &mut fact {
        Fact::Activity(moved) => moved.progress.own_bytes(),
        Fact::Buffered(event) => event.own_bytes(),
        // Nothing else has bytes.
        _ => {}
    }
    fact
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_encoded_one_by_one_are_a_history() {
        let event = |event_id| HistoryEvent { event_id, event_type: 3, ..HistoryEvent::default() };
        let events: Vec<_> = (5..9).map(event).collect();
        let batch = Batch::new(events.clone());
        assert_eq!(batch.bytes, History { events: events.clone() }.encode_to_vec());
        assert_eq!((batch.first_event_id, batch.count, batch.last_event_id()), (5, 4, 8));
        assert_eq!(batch.events(), events);
    }
}
