//! What a workflow is said to hold follows what the allocator says that it holds, for runs of odd shapes. Alone in its
//! binary, since it counts what is allocated.

use std::sync::Arc;

use allocated::allocated;
use api::temporal::api::common::v1::{Header, Memo, Payload, Payloads, SearchAttributes};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::*;
use bytes::Bytes;
use execution::{Batch, ChainFact, ChainMove, Change, Fact, RunChange, RunRow, Seen, Step, Workflow};
use prost::Message;

#[global_allocator]
static ALLOCATOR: allocated::Counting = allocated::Counting;

const RUN: &str = "018f2b1c-1111-7222-8333-444455556666";

fn payload(data: usize) -> Payload {
    let metadata = [("encoding".to_owned(), Bytes::from_static(b"json/plain"))];
    Payload { metadata: metadata.into(), data: vec![b'7'; data].into(), ..Payload::default() }
}

fn payloads(count: usize, of: &Payload) -> Option<Payloads> {
    Some(Payloads { payloads: vec![of.clone(); count] })
}

fn start() -> WorkflowExecutionStartedEventAttributes {
    WorkflowExecutionStartedEventAttributes {
        workflow_id: "order-4711".to_owned(),
        input: payloads(1, &payload(20)),
        identity: "1234@worker.example".to_owned(),
        first_execution_run_id: RUN.to_owned(),
        original_execution_run_id: RUN.to_owned(),
        ..WorkflowExecutionStartedEventAttributes::default()
    }
}

/// A run with these events, as a recovered log brings it.
fn of_events(workflow: &mut Workflow, attributes: impl IntoIterator<Item = Attributes>, facts: Vec<Fact>) {
    let first = workflow.runs.get(RUN).map_or(1, |run| run.core.next_event_id);
    let events: Vec<_> = (first..)
        .zip(attributes)
        .map(|(event_id, attributes)| HistoryEvent {
            event_id,
            attributes: Some(attributes),
            ..HistoryEvent::default()
        })
        .collect();
    let steps = events.iter().map(|_| Step::Event).chain(facts.into_iter().map(Step::Fact)).collect();
    let batch = (!events.is_empty()).then(|| Arc::new(Batch::new(events)));
    let change = Change::Run(RunChange { run_id: RUN.to_owned(), steps, batch });
    // As the log has it.
    let change = Change::decode(change.encode()).unwrap();
    workflow.apply(&change).unwrap();
}

fn begun(start: WorkflowExecutionStartedEventAttributes) -> Workflow {
    let mut workflow = Workflow::default();
    of_events(&mut workflow, [Attributes::WorkflowExecutionStartedEventAttributes(start)], vec![]);
    workflow
}

fn activities(count: usize, input: Option<Payloads>) -> Workflow {
    let mut workflow = begun(start());
    let scheduled = (0..count).map(|number| {
        Attributes::ActivityTaskScheduledEventAttributes(ActivityTaskScheduledEventAttributes {
            activity_id: number.to_string(),
            input: input.clone(),
            header: Some(Header { fields: [("trace".to_owned(), payload(30))].into() }),
            ..ActivityTaskScheduledEventAttributes::default()
        })
    });
    of_events(&mut workflow, scheduled.collect::<Vec<_>>(), vec![]);
    workflow
}

fn signalled(count: usize) -> Workflow {
    let mut workflow = begun(start());
    for _ in 0..count {
        let signal = WorkflowExecutionSignaledEventAttributes {
            signal_name: "poke".to_owned(),
            input: payloads(1, &payload(1)),
            ..WorkflowExecutionSignaledEventAttributes::default()
        };
        of_events(&mut workflow, [Attributes::WorkflowExecutionSignaledEventAttributes(signal)], vec![]);
    }
    workflow
}

fn buffered(count: usize) -> Workflow {
    let mut workflow = begun(start());
    let signal = WorkflowExecutionSignaledEventAttributes {
        signal_name: "poke".to_owned(),
        input: payloads(1, &payload(1)),
        ..WorkflowExecutionSignaledEventAttributes::default()
    };
    let event = HistoryEvent {
        attributes: Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal)),
        ..HistoryEvent::default()
    };
    let facts = (0..count).map(|_| Fact::Buffered(Box::new(event.clone()))).collect();
    of_events(&mut workflow, [], facts);
    workflow
}

fn failed(depth: usize) -> Workflow {
    let deeper = |cause: Option<Box<Failure>>| Failure {
        message: "it broke".to_owned(),
        encoded_attributes: Some(payload(10)),
        cause,
        ..Failure::default()
    };
    let failure = (0..depth).fold(None, |cause, _| Some(Box::new(deeper(cause))));
    let mut workflow = begun(start());
    let closed = WorkflowExecutionFailedEventAttributes {
        failure: failure.map(|failure| *failure),
        ..WorkflowExecutionFailedEventAttributes::default()
    };
    of_events(&mut workflow, [Attributes::WorkflowExecutionFailedEventAttributes(closed)], vec![]);
    workflow
}

fn completed() -> Workflow {
    let mut workflow = begun(start());
    let closed = WorkflowExecutionCompletedEventAttributes {
        result: payloads(1, &payload(20)),
        ..WorkflowExecutionCompletedEventAttributes::default()
    };
    of_events(&mut workflow, [Attributes::WorkflowExecutionCompletedEventAttributes(closed)], vec![]);
    workflow
}

fn with_memo(fields: usize, data: usize) -> Workflow {
    let of = |count: usize| (0..count).map(|number| (format!("field-{number}"), payload(data)));
    begun(WorkflowExecutionStartedEventAttributes {
        memo: Some(Memo { fields: of(fields).collect() }),
        search_attributes: Some(SearchAttributes { indexed_fields: of(2).collect() }),
        ..start()
    })
}

fn timers(count: usize) -> Workflow {
    let mut workflow = begun(start());
    let started = (0..count).map(|number| {
        let timer_id = format!("timer-{number}");
        Attributes::TimerStartedEventAttributes(TimerStartedEventAttributes { timer_id, ..Default::default() })
    });
    of_events(&mut workflow, started.collect::<Vec<_>>(), vec![]);
    workflow
}

fn children(count: usize) -> Workflow {
    let mut workflow = begun(start());
    let initiated = (0..count).map(|number| {
        let attributes = StartChildWorkflowExecutionInitiatedEventAttributes {
            workflow_id: format!("child-{number}"),
            input: payloads(1, &payload(30)),
            ..Default::default()
        };
        Attributes::StartChildWorkflowExecutionInitiatedEventAttributes(attributes)
    });
    of_events(&mut workflow, initiated.collect::<Vec<_>>(), vec![]);
    workflow
}

/// The same run from its row, without history.
fn from_row(workflow: Workflow) -> Workflow {
    let row = Bytes::from(RunRow::of(&workflow.runs[RUN]).encode_to_vec());
    let run = RunRow::decode(row).unwrap().into_run().unwrap();
    Workflow { runs: [Arc::new(run)].into_iter().collect(), ..Workflow::default() }
}

/// A workflow ID that has carried out many requests.
fn seen(count: usize) -> Workflow {
    let mut workflow = Workflow::default();
    for number in 0..count {
        let request = format!("signal/{number:032x}-{}", number * 7919 % 10_007);
        let seen = ChainMove::Seen(Seen { request, run_id: RUN.to_owned(), keep: 10_000 });
        workflow.apply(&Change::Chain(ChainFact { fact: Some(seen) })).unwrap();
    }
    workflow
}

#[test]
fn what_is_said_to_be_held_is_within_a_quarter_of_what_is() {
    type Shape = (&'static str, Box<dyn Fn() -> Workflow>);
    let shapes: Vec<Shape> = vec![
        ("a run that has just begun", Box::new(|| begun(start()))),
        ("a closed run", Box::new(completed)),
        ("the same from its row", Box::new(|| from_row(completed()))),
        (
            "100,000 empty payloads",
            Box::new(|| {
                begun(WorkflowExecutionStartedEventAttributes {
                    input: payloads(100_000, &Payload::default()),
                    ..start()
                })
            }),
        ),
        (
            "10,000 small payloads",
            Box::new(|| {
                begun(WorkflowExecutionStartedEventAttributes { input: payloads(10_000, &payload(5)), ..start() })
            }),
        ),
        ("failures within failures", Box::new(|| failed(20))),
        ("many small signals", Box::new(|| signalled(2_000))),
        ("many small buffered signals", Box::new(|| buffered(1_000))),
        ("2,000 activities", Box::new(|| activities(2_000, payloads(1, &payload(100))))),
        ("the same from its row", Box::new(|| from_row(activities(2_000, payloads(1, &payload(100)))))),
        ("activities with many empty payloads", Box::new(|| activities(50, payloads(1_000, &Payload::default())))),
        ("a large memo", Box::new(|| with_memo(5, 300_000))),
        ("a memo of many fields", Box::new(|| with_memo(1_000, 10))),
        ("the same from its row", Box::new(|| from_row(with_memo(1_000, 10)))),
        ("2,000 timers", Box::new(|| timers(2_000))),
        ("2,000 children", Box::new(|| children(2_000))),
        ("a few requests", Box::new(|| seen(10))),
        ("10,000 requests", Box::new(|| seen(10_000))),
    ];
    let mut off = Vec::new();
    for (name, shape) in shapes {
        let (workflow, allocated) = allocated(shape);
        let held = allocated.held.cast_signed();
        let said = workflow.held_bytes().cast_signed();
        println!("{name}: {held} held, {said} said, {:.2}", said as f64 / held as f64);
        if (said - held).abs() * 4 > held {
            off.push(format!("{name}: {held} bytes are held, {said} are said to be"));
        }
    }
    assert!(off.is_empty(), "{off:#?}");
}
