//! What is encoded reads back as it was, and nothing makes the decoder panic.

use api::temporal::api::common::v1::{Header, Link, Payload, Payloads, WorkflowExecution};
use api::temporal::api::history::v1::WorkflowExecutionCompletedEventAttributes;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::workflowservice::v1::StartWorkflowExecutionRequest;
use bytes::Bytes;
use execution::{ChildClosed, Parent, Rejection, RequestCancel, RunRef, Signal, Start, Terminate};
use proptest::prelude::*;
use prost::Message as _;

use super::{Message, MessageBody, PeerReply};

fn execution() -> impl Strategy<Value = WorkflowExecution> {
    (".{0,12}", ".{0,12}").prop_map(|(workflow_id, run_id)| WorkflowExecution { workflow_id, run_id })
}

fn payloads() -> impl Strategy<Value = Payloads> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3).prop_map(|payloads| Payloads {
        payloads: payloads.into_iter().map(|data| Payload { data: data.into(), ..Payload::default() }).collect(),
    })
}

fn header() -> impl Strategy<Value = Header> {
    (".{0,8}", prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(name, data)| Header {
        fields: [(name, Payload { data: data.into(), ..Payload::default() })].into(),
    })
}

fn links() -> impl Strategy<Value = Vec<Link>> {
    prop::collection::vec(Just(Link::default()), 0..3)
}

fn start() -> impl Strategy<Value = Message> {
    let parent = (".{0,8}", ".{0,8}", execution(), any::<i64>(), execution()).prop_map(
        |(namespace, namespace_id, execution, initiated_event_id, root)| Parent {
            namespace,
            namespace_id,
            execution,
            initiated_event_id,
            root,
        },
    );
    let request = (".{0,12}", ".{0,12}", prop::option::of(payloads()), prop::option::of(header())).prop_map(
        |(workflow_id, request_id, input, header)| StartWorkflowExecutionRequest {
            workflow_id,
            request_id,
            input,
            header,
            ..Default::default()
        },
    );
    (request, prop::option::of(parent)).prop_map(|(request, parent)| {
        let body = MessageBody::Start(Box::new(Start { request, parent, signal: None, update: None }));
        Message { run: RunRef::Chain, body }
    })
}

fn signal() -> impl Strategy<Value = Message> {
    let texts = (".{0,12}", ".{0,12}", ".{0,12}", ".{0,12}");
    let rest = (prop::option::of(payloads()), prop::option::of(header()), links(), prop::option::of(execution()));
    (texts, rest, any::<bool>()).prop_map(|(texts, (input, header, links, sender), child_only)| {
        let (run_id, request_id, name, identity) = texts;
        let signal = Signal { request_id, name, input, header, identity, links, sender, child_only };
        Message { run: run_id.into(), body: MessageBody::Signal(Box::new(signal)) }
    })
}

fn request_cancel() -> impl Strategy<Value = Message> {
    let texts = (".{0,12}", ".{0,12}", ".{0,12}", ".{0,12}", ".{0,12}");
    (texts, links(), prop::option::of((execution(), any::<i64>())), any::<bool>()).prop_map(
        |((run_id, request_id, first_execution_run_id, reason, identity), links, sender, child_only)| {
            let request =
                RequestCancel { request_id, first_execution_run_id, reason, identity, links, sender, child_only };
            Message { run: run_id.into(), body: MessageBody::RequestCancel(Box::new(request)) }
        },
    )
}

fn terminate() -> impl Strategy<Value = Message> {
    let texts = (".{0,12}", ".{0,12}", ".{0,12}", ".{0,12}");
    (texts, prop::option::of(payloads()), links(), prop::option::of(execution())).prop_map(
        |((run_id, first_execution_run_id, reason, identity), details, links, parent)| {
            let terminate = Terminate { first_execution_run_id, reason, details, identity, links, parent };
            Message { run: run_id.into(), body: MessageBody::Terminate(Box::new(terminate)) }
        },
    )
}

fn child_closed() -> impl Strategy<Value = Message> {
    (".{0,12}", any::<i64>(), execution(), prop::option::of(payloads())).prop_map(
        |(run_id, initiated_event_id, child, result)| {
            let completed = WorkflowExecutionCompletedEventAttributes { result, ..Default::default() };
            let outcome = Attributes::WorkflowExecutionCompletedEventAttributes(completed);
            let body = MessageBody::ChildClosed(Box::new(ChildClosed { initiated_event_id, child, outcome }));
            Message { run: run_id.into(), body }
        },
    )
}

fn rejection() -> impl Strategy<Value = Rejection> {
    prop_oneof![
        ".{0,12}".prop_map(Rejection::NotFound),
        Just(Rejection::AlreadyCompleted),
        (".{0,8}", ".{0,8}", ".{0,8}", ".{0,8}").prop_map(
            |(message, start_request_id, run_id, first_execution_run_id)| Rejection::AlreadyStarted {
                message,
                start_request_id,
                run_id,
                first_execution_run_id,
            }
        ),
        ".{0,12}".prop_map(Rejection::InvalidArgument),
        ".{0,12}".prop_map(Rejection::LimitExceeded),
        ".{0,12}".prop_map(Rejection::NotYet),
    ]
}

proptest! {
    #[test]
    fn a_message_reads_back_as_it_was(
        message in prop_oneof![start(), signal(), request_cancel(), terminate(), child_closed()])
    {
        let read = Message::decode(message.clone().encode()).map(|message| format!("{:?}", message.into_input()));
        prop_assert_eq!(read, Ok(format!("{:?}", message.into_input())));
    }

    #[test]
    fn an_answer_reads_back_as_it_was(
        reply in prop_oneof![
            ".{0,12}".prop_map(|run_id| PeerReply::Done { run_id }), rejection().prop_map(PeerReply::Refused), Just(PeerReply::Later)])
    {
        prop_assert_eq!(PeerReply::decode(reply.encode()), Ok(reply));
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(Bytes::from(bytes.clone()));
        let _ = PeerReply::decode(Bytes::from(bytes));
    }
}

#[test]
fn what_a_later_release_writes_is_refused() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Later {
        #[prost(uint32, tag = "1")]
        format: u32,
    }
    let bytes = Bytes::from(Later { format: 3 }.encode_to_vec());
    assert!(Message::decode(bytes.clone()).unwrap_err().contains("format 3"));
    assert!(PeerReply::decode(bytes).unwrap_err().contains("format 3"));
    assert!(Message::decode(Bytes::new()).is_err());
}
