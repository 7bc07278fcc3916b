//! The encoding of what passes between workflows of different nodes. Protobuf with a format number: both ends may be of
//! neighbouring releases.

use api::temporal::api::common::v1::{Header, Link, Payloads, WorkflowExecution};
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::workflowservice::v1::StartWorkflowExecutionRequest;
use bytes::Bytes;
use execution::{Ask, ChildClosed, Input, Parent, Rejection, RequestCancel, RunRef, Signal, Start, Terminate};
use prost::Message as _;

use super::PeerReply;

/// The format that this release writes, and the newest that it reads.
const FORMAT: u32 = 2;

/// A message from one workflow to another.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The run that is meant.
    pub(crate) run: RunRef,
    /// What it carries.
    pub(crate) body: MessageBody,
}

/// What one workflow can send to another.
#[derive(Clone, Debug)]
pub(crate) enum MessageBody {
    /// A child is to be started. Carries no signal.
    Start(Box<Start>),
    /// A signal.
    Signal(Box<Signal>),
    /// A request for cancellation, by a command or a parent close policy.
    RequestCancel(Box<RequestCancel>),
    /// The end, by a parent close policy.
    Terminate(Box<Terminate>),
    /// To a parent: a child has closed.
    ChildClosed(Box<ChildClosed>),
}

impl Message {
    /// As the workflow sees it.
    pub(crate) fn into_input(self) -> Input {
        let ask = match self.body {
            MessageBody::Start(start) => Ask::Start(start),
            MessageBody::Signal(signal) => Ask::Signal(signal),
            MessageBody::RequestCancel(request) => Ask::RequestCancel(request),
            MessageBody::Terminate(terminate) => Ask::Terminate(terminate),
            MessageBody::ChildClosed(closed) => Ask::ChildClosed(closed),
        };
        Input { run: self.run, ask }
    }

    /// For another node.
    pub(crate) fn encode(self) -> Bytes {
        let content = match self.body {
            MessageBody::Start(start) => Content::Start(Box::new(StartRecord::of(*start))),
            MessageBody::Signal(signal) => Content::Signal(SignalRecord::of(*signal)),
            MessageBody::RequestCancel(request) => Content::RequestCancel(RequestCancelRecord::of(*request)),
            MessageBody::Terminate(terminate) => Content::Terminate(TerminateRecord::of(*terminate)),
            MessageBody::ChildClosed(closed) => Content::ChildClosed(Box::new(ChildClosedRecord::of(*closed))),
        };
        let run_id = match self.run {
            RunRef::Run(run_id) => run_id,
            RunRef::Chain | RunRef::Current => String::new(),
        };
        MessageRecord { format: FORMAT, run_id, content: Some(content) }.encode_to_vec().into()
    }

    /// From another node. The error says what is wrong with the bytes.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, String> {
        let record = MessageRecord::decode(bytes).map_err(|error| format!("undecodable message: {error}"))?;
        check_format(record.format)?;
        let body = match record.content.ok_or("a message without content")? {
            Content::Start(start) => {
                return Ok(Self { run: RunRef::Chain, body: MessageBody::Start(Box::new(start.into_start()?)) });
            }
            Content::Signal(signal) => MessageBody::Signal(Box::new(signal.into_signal())),
            Content::RequestCancel(request) => MessageBody::RequestCancel(Box::new(request.into_request()?)),
            Content::Terminate(terminate) => MessageBody::Terminate(Box::new(terminate.into_terminate())),
            Content::ChildClosed(closed) => MessageBody::ChildClosed(Box::new(closed.into_closed()?)),
        };
        Ok(Self { run: record.run_id.into(), body })
    }
}

fn check_format(format: u32) -> Result<(), String> {
    if format == FORMAT { Ok(()) } else { Err(format!("format {format}, this release reads format {FORMAT}")) }
}

#[derive(Clone, PartialEq, prost::Message)]
struct MessageRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(oneof = "Content", tags = "2, 3, 4, 5, 6")]
    content: Option<Content>,
    /// Empty for the current run.
    #[prost(string, tag = "7")]
    run_id: String,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(message, tag = "2")]
    Start(Box<StartRecord>),
    #[prost(message, tag = "3")]
    Signal(SignalRecord),
    #[prost(message, tag = "4")]
    RequestCancel(RequestCancelRecord),
    #[prost(message, tag = "5")]
    Terminate(TerminateRecord),
    #[prost(message, tag = "6")]
    ChildClosed(Box<ChildClosedRecord>),
}

#[derive(Clone, PartialEq, prost::Message)]
struct StartRecord {
    #[prost(message, optional, tag = "1")]
    request: Option<StartWorkflowExecutionRequest>,
    #[prost(message, optional, tag = "2")]
    parent: Option<ParentRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ParentRecord {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    namespace_id: String,
    #[prost(message, optional, tag = "3")]
    execution: Option<WorkflowExecution>,
    #[prost(int64, tag = "4")]
    initiated_event_id: i64,
    #[prost(message, optional, tag = "5")]
    root: Option<WorkflowExecution>,
}

impl StartRecord {
    fn of(start: Start) -> Self {
        let parent = start.parent.map(|parent| ParentRecord {
            namespace: parent.namespace,
            namespace_id: parent.namespace_id,
            execution: Some(parent.execution),
            initiated_event_id: parent.initiated_event_id,
            root: Some(parent.root),
        });
        Self { request: Some(start.request), parent }
    }

    fn into_start(self) -> Result<Start, String> {
        let parent = self.parent.map(|parent| Parent {
            namespace: parent.namespace,
            namespace_id: parent.namespace_id,
            execution: parent.execution.unwrap_or_default(),
            initiated_event_id: parent.initiated_event_id,
            root: parent.root.unwrap_or_default(),
        });
        Ok(Start { request: self.request.ok_or("a start without a request")?, parent, signal: None, update: None })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct SignalRecord {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, optional, tag = "3")]
    input: Option<Payloads>,
    #[prost(message, optional, tag = "4")]
    header: Option<Header>,
    #[prost(string, tag = "5")]
    identity: String,
    #[prost(message, repeated, tag = "6")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "7")]
    sender: Option<WorkflowExecution>,
    #[prost(bool, tag = "8")]
    child_only: bool,
}

impl SignalRecord {
    fn of(signal: Signal) -> Self {
        let Signal { request_id, name, input, header, identity, links, sender, child_only } = signal;
        Self { request_id, name, input, header, identity, links, sender, child_only }
    }

    fn into_signal(self) -> Signal {
        let Self { request_id, name, input, header, identity, links, sender, child_only } = self;
        Signal { request_id, name, input, header, identity, links, sender, child_only }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestCancelRecord {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(string, tag = "2")]
    first_execution_run_id: String,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(string, tag = "4")]
    identity: String,
    #[prost(message, repeated, tag = "5")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "6")]
    sender: Option<SenderRecord>,
    #[prost(bool, tag = "7")]
    child_only: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SenderRecord {
    #[prost(message, optional, tag = "1")]
    execution: Option<WorkflowExecution>,
    #[prost(int64, tag = "2")]
    event_id: i64,
}

impl RequestCancelRecord {
    fn of(request: RequestCancel) -> Self {
        let RequestCancel { request_id, first_execution_run_id, reason, identity, links, sender, child_only } = request;
        let sender = sender.map(|(execution, event_id)| SenderRecord { execution: Some(execution), event_id });
        Self { request_id, first_execution_run_id, reason, identity, links, sender, child_only }
    }

    fn into_request(self) -> Result<RequestCancel, String> {
        let Self { request_id, first_execution_run_id, reason, identity, links, sender, child_only } = self;
        let named = |sender: SenderRecord| {
            let execution = sender.execution.ok_or("a request for cancellation whose sender has no name")?;
            Ok::<_, String>((execution, sender.event_id))
        };
        let sender = sender.map(named).transpose()?;
        Ok(RequestCancel { request_id, first_execution_run_id, reason, identity, links, sender, child_only })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct TerminateRecord {
    #[prost(string, tag = "1")]
    first_execution_run_id: String,
    #[prost(string, tag = "2")]
    reason: String,
    #[prost(message, optional, tag = "3")]
    details: Option<Payloads>,
    #[prost(string, tag = "4")]
    identity: String,
    #[prost(message, repeated, tag = "5")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "6")]
    parent: Option<WorkflowExecution>,
}

impl TerminateRecord {
    fn of(terminate: Terminate) -> Self {
        let Terminate { first_execution_run_id, reason, details, identity, links, parent } = terminate;
        Self { first_execution_run_id, reason, details, identity, links, parent }
    }

    fn into_terminate(self) -> Terminate {
        let Self { first_execution_run_id, reason, details, identity, links, parent } = self;
        Terminate { first_execution_run_id, reason, details, identity, links, parent }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ChildClosedRecord {
    #[prost(int64, tag = "1")]
    initiated_event_id: i64,
    #[prost(message, optional, tag = "2")]
    child: Option<WorkflowExecution>,
    /// Nothing but its attributes is set.
    #[prost(message, optional, tag = "3")]
    outcome: Option<HistoryEvent>,
}

impl ChildClosedRecord {
    fn of(closed: ChildClosed) -> Self {
        let ChildClosed { initiated_event_id, child, outcome } = closed;
        let outcome = HistoryEvent { attributes: Some(outcome), ..HistoryEvent::default() };
        Self { initiated_event_id, child: Some(child), outcome: Some(outcome) }
    }

    fn into_closed(self) -> Result<ChildClosed, String> {
        let Self { initiated_event_id, child, outcome } = self;
        let outcome = outcome.and_then(|event| event.attributes).ok_or("a child's close without its outcome")?;
        Ok(ChildClosed { initiated_event_id, child: child.unwrap_or_default(), outcome })
    }
}

impl PeerReply {
    /// For the node that asked.
    pub(crate) fn encode(&self) -> Bytes {
        let answer = match self {
            Self::Done { run_id } => Answer::Done(run_id.clone()),
            Self::Refused(rejection) => Answer::Refused(RejectionRecord::of(rejection)),
            Self::Later => Answer::Later(true),
        };
        PeerReplyRecord { format: FORMAT, answer: Some(answer) }.encode_to_vec().into()
    }

    /// From the node that was asked. The error says what is wrong with the bytes.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, String> {
        let record = PeerReplyRecord::decode(bytes).map_err(|error| format!("undecodable answer: {error}"))?;
        check_format(record.format)?;
        Ok(match record.answer.ok_or("an answer without content")? {
            Answer::Done(run_id) => Self::Done { run_id },
            Answer::Refused(rejection) => Self::Refused(rejection.into_rejection()?),
            Answer::Later(_) => Self::Later,
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct PeerReplyRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(oneof = "Answer", tags = "2, 3, 4")]
    answer: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Answer {
    #[prost(string, tag = "2")]
    Done(String),
    #[prost(message, tag = "3")]
    Refused(RejectionRecord),
    #[prost(bool, tag = "4")]
    Later(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
struct RejectionRecord {
    #[prost(enumeration = "RejectionKind", tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(string, tag = "3")]
    start_request_id: String,
    #[prost(string, tag = "4")]
    run_id: String,
    #[prost(string, tag = "5")]
    first_execution_run_id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum RejectionKind {
    Unspecified = 0,
    NotFound = 1,
    AlreadyCompleted = 2,
    AlreadyStarted = 3,
    InvalidArgument = 4,
    LimitExceeded = 5,
    NotYet = 6,
    NotReady = 7,
    TooManyInFlight = 8,
}

impl RejectionRecord {
    fn of(rejection: &Rejection) -> Self {
        let says = |kind: RejectionKind, message: &str| Self {
            kind: kind as i32,
            message: message.to_owned(),
            ..Self::default()
        };
        match rejection {
            Rejection::NotFound(message) => says(RejectionKind::NotFound, message),
            Rejection::AlreadyCompleted => says(RejectionKind::AlreadyCompleted, ""),
            Rejection::AlreadyStarted { message, start_request_id, run_id, first_execution_run_id } => Self {
                start_request_id: start_request_id.clone(),
                run_id: run_id.clone(),
                first_execution_run_id: first_execution_run_id.clone(),
                ..says(RejectionKind::AlreadyStarted, message)
            },
            Rejection::InvalidArgument(message) => says(RejectionKind::InvalidArgument, message),
            Rejection::LimitExceeded(message) => says(RejectionKind::LimitExceeded, message),
            Rejection::NotYet(message) => says(RejectionKind::NotYet, message),
            Rejection::NotReady(message) => says(RejectionKind::NotReady, message),
            Rejection::TooManyInFlight(message) => says(RejectionKind::TooManyInFlight, message),
        }
    }

    fn into_rejection(self) -> Result<Rejection, String> {
        let Self { kind, message, start_request_id, run_id, first_execution_run_id } = self;
        Ok(match RejectionKind::try_from(kind) {
            Ok(RejectionKind::NotFound) => Rejection::NotFound(message),
            Ok(RejectionKind::AlreadyCompleted) => Rejection::AlreadyCompleted,
            Ok(RejectionKind::AlreadyStarted) => {
                Rejection::AlreadyStarted { message, start_request_id, run_id, first_execution_run_id }
            }
            Ok(RejectionKind::InvalidArgument) => Rejection::InvalidArgument(message),
            Ok(RejectionKind::LimitExceeded) => Rejection::LimitExceeded(message),
            Ok(RejectionKind::NotYet) => Rejection::NotYet(message),
            Ok(RejectionKind::NotReady) => Rejection::NotReady(message),
            Ok(RejectionKind::TooManyInFlight) => Rejection::TooManyInFlight(message),
            Ok(RejectionKind::Unspecified) | Err(_) => return Err(format!("a rejection of kind {kind}")),
        })
    }
}
