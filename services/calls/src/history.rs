//! What history does for frontends and matching.

use api::temporal::api::common::v1::{WorkerVersionCapabilities, WorkflowExecution};
use api::temporal::api::workflowservice::v1 as wire;
use api::temporal::api::workflowservice::v1::execute_multi_operation_request::operation::Operation;
use bytes::Bytes;

use crate::table::calls;
use crate::token::{ActivityTaskToken, WorkflowTaskToken};
use crate::{OfferedTask, Relayed, ServiceError, ServiceResult};

calls! {
    /// History: durable workflow executions. Every request has been validated and its tokens opened by the frontend; an
    /// empty run id means the current run.
    History("history") {
        /// Retry policy, timeouts and policies are as the caller sent them; defaults are history's.
        StartWorkflow: start_workflow(wire::StartWorkflowExecutionRequest) -> wire::StartWorkflowExecutionResponse,
            AtOnce, |start| &start.workflow_id, under request_id;

        /// Signals the open run, or starts one with the signal as its first event after the start.
        SignalWithStart: signal_with_start(wire::SignalWithStartWorkflowExecutionRequest)
            -> wire::SignalWithStartWorkflowExecutionResponse,
            AtOnce, |signal| &signal.workflow_id, under request_id;

        /// Signals an open run.
        SignalWorkflow: signal_workflow(wire::SignalWorkflowExecutionRequest) -> wire::SignalWorkflowExecutionResponse,
            AtOnce, |signal| of(&signal.workflow_execution), under request_id;

        /// Asks an open run to cancel itself.
        RequestCancel: request_cancel(wire::RequestCancelWorkflowExecutionRequest)
            -> wire::RequestCancelWorkflowExecutionResponse,
            AtOnce, |cancel| of(&cancel.workflow_execution), under request_id;

        /// Asks a run to take an update, and waits until it has come as far as the caller wants. Asked again with the same
        /// update id, it waits for the same update.
        UpdateWorkflow: update_workflow(wire::UpdateWorkflowExecutionRequest) -> wire::UpdateWorkflowExecutionResponse,
            Waits, |update| of(&update.workflow_execution);

        /// Waits until an update that the run knows has come as far as the caller wants.
        PollUpdate: poll_update(wire::PollWorkflowExecutionUpdateRequest)
            -> wire::PollWorkflowExecutionUpdateResponse,
            Waits, |poll| poll.update_ref.as_ref().map_or("", |update| of(&update.workflow_execution));

        /// Starts a run, or uses the open one, and asks it to take an update; waits as `UpdateWorkflow` does. The operations are
        /// exactly these two.
        ExecuteMultiOperation: execute_multi_operation(wire::ExecuteMultiOperationRequest)
            -> wire::ExecuteMultiOperationResponse,
            Waits, |multi| of_first(multi);

        /// Ends an open run at once.
        TerminateWorkflow: terminate_workflow(wire::TerminateWorkflowExecutionRequest)
            -> wire::TerminateWorkflowExecutionResponse,
            AtOnce, |terminate| of(&terminate.workflow_execution);

        /// Goes on from an earlier point of a run as a new one, and ends the one that is open.
        ResetWorkflow: reset_workflow(wire::ResetWorkflowExecutionRequest) -> wire::ResetWorkflowExecutionResponse,
            AtOnce, |reset| of(&reset.workflow_execution), under request_id;

        /// Shows a run.
        DescribeWorkflow: describe_workflow(wire::DescribeWorkflowExecutionRequest)
            -> wire::DescribeWorkflowExecutionResponse,
            AtOnce, |describe| of(&describe.execution);

        /// Events from the first on; may wait for new ones. A wait that ends because it was not served shows an empty page,
        /// if there is one to go on from.
        GetHistory: get_history(GetHistory) -> wire::GetWorkflowExecutionHistoryResponse,
            Waits, |get| of(&get.request.execution),
            { fn unserved(get: &Self::Request, error: ServiceError) -> ServiceResult<Self::Reply> { get.go_on(error) } };

        /// Events from the last on, backwards.
        GetHistoryReverse: get_history_reverse(wire::GetWorkflowExecutionHistoryReverseRequest)
            -> wire::GetWorkflowExecutionHistoryReverseResponse,
            AtOnce, |get| of(&get.execution);

        /// Asks a worker about a run, and waits for its answer.
        QueryWorkflow: query_workflow(wire::QueryWorkflowRequest) -> wire::QueryWorkflowResponse,
            Waits, |query| of(&query.execution);

        /// Forgets which worker has the run cached.
        ResetStickyTaskQueue: reset_sticky_task_queue(wire::ResetStickyTaskQueueRequest)
            -> wire::ResetStickyTaskQueueResponse,
            AtOnce, |reset| of(&reset.execution);

        /// A worker's decisions.
        CompleteWorkflowTask:
            complete_workflow_task(Opened<WorkflowTaskToken, wire::RespondWorkflowTaskCompletedRequest>)
            -> wire::RespondWorkflowTaskCompletedResponse,
            AtOnce, |complete| &complete.token.workflow_id;

        /// A worker could not make decisions.
        FailWorkflowTask: fail_workflow_task(Opened<WorkflowTaskToken, wire::RespondWorkflowTaskFailedRequest>)
            -> wire::RespondWorkflowTaskFailedResponse,
            AtOnce, |fail| &fail.token.workflow_id;

        /// An activity is alive. (The ById request is turned into this one.)
        HeartbeatActivity: heartbeat_activity(ActivityReport<wire::RecordActivityTaskHeartbeatRequest>)
            -> wire::RecordActivityTaskHeartbeatResponse,
            AtOnce, |report| report.activity.workflow_id();

        /// An activity's result.
        CompleteActivity: complete_activity(ActivityReport<wire::RespondActivityTaskCompletedRequest>)
            -> wire::RespondActivityTaskCompletedResponse,
            AtOnce, |report| report.activity.workflow_id();

        /// An activity's failure.
        FailActivity: fail_activity(ActivityReport<wire::RespondActivityTaskFailedRequest>)
            -> wire::RespondActivityTaskFailedResponse,
            AtOnce, |report| report.activity.workflow_id();

        /// An activity accepted its cancellation.
        CancelActivity: cancel_activity(ActivityReport<wire::RespondActivityTaskCanceledRequest>)
            -> wire::RespondActivityTaskCanceledResponse,
            AtOnce, |report| report.activity.workflow_id();

        /// From matching: a poller is about to be given this workflow task. The context's request id is one for all retries
        /// on behalf of the same poller and task. The response's token is not yet sealed.
        RecordWorkflowTaskStarted: record_workflow_task_started(RecordStart)
            -> RecordedStart<wire::PollWorkflowTaskQueueResponse>,
            AtOnce, |record| record.task.key.workflow_id.as_str();

        /// From matching: a poller is about to be given this activity task; likewise.
        RecordActivityTaskStarted: record_activity_task_started(RecordStart)
            -> RecordedStart<wire::PollActivityTaskQueueResponse>,
            AtOnce, |record| record.task.key.workflow_id.as_str();

        /// From another workflow, perhaps of another node: what it owes to this one. Message and answer are in history's own
        /// encoding. Idempotent, and never refused as overload.
        SendToWorkflow: send_to_workflow(SendToWorkflow) -> Bytes, AtOnce, |send| &send.workflow_id;

        /// For operators: the state of a workflow ID and its unstored changes, as JSON.
        DumpWorkflow: dump_workflow(DumpWorkflow) -> String, AtOnce, |dump| &dump.workflow_id;
    }
}

/// The workflow ID of a request, or none: the owner of that shard refuses it as any other would.
fn of(execution: &Option<WorkflowExecution>) -> &str {
    execution.as_ref().map_or("", |execution| &execution.workflow_id)
}

/// The workflow ID of the first of several operations: all are about the same one.
fn of_first(multi: &wire::ExecuteMultiOperationRequest) -> &str {
    match multi.operations.first().and_then(|operation| operation.operation.as_ref()) {
        Some(Operation::StartWorkflow(start)) => &start.workflow_id,
        Some(Operation::UpdateWorkflow(update)) => of(&update.workflow_execution),
        None => "",
    }
}

/// A worker's request, and what the (authenticated) token in it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened<T, R> {
    /// The token.
    pub token: T,
    /// The request.
    pub request: R,
}

/// What a worker says of an activity.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityReport<R> {
    /// Which activity.
    pub activity: ActivityRef,
    /// The request, in the form that carries a token.
    pub request: R,
}

/// Which activity a worker speaks of.
#[derive(Clone, Debug, PartialEq)]
pub enum ActivityRef {
    /// By the (authenticated) token that it was handed out with.
    Token(ActivityTaskToken),
    /// By its id in a workflow; an empty run id means the current run.
    Id {
        /// The workflow.
        workflow_id: String,
        /// The run, or empty.
        run_id: String,
        /// The activity id.
        activity_id: String,
    },
}

impl ActivityRef {
    /// Whose activity it is.
    #[must_use]
    pub fn workflow_id(&self) -> &str {
        match self {
            Self::Token(token) => &token.workflow_id,
            Self::Id { workflow_id, .. } => workflow_id,
        }
    }
}

/// Asks for events.
#[derive(Clone, Debug, PartialEq)]
pub struct GetHistory {
    /// What is shown of events that are not written yet.
    pub unwritten: UnwrittenEvents,
    /// The request.
    pub request: wire::GetWorkflowExecutionHistoryRequest,
}

impl GetHistory {
    fn go_on(&self, error: ServiceError) -> ServiceResult<wire::GetWorkflowExecutionHistoryResponse> {
        let request = &self.request;
        if !matches!(error, ServiceError::NotOwner(_)) || !request.wait_new_event || request.next_page_token.is_empty()
        {
            return Err(error);
        }
        Ok(wire::GetWorkflowExecutionHistoryResponse {
            history: Some(Default::default()),
            next_page_token: request.next_page_token.clone(),
            ..Default::default()
        })
    }
}

/// What becomes of the events of a workflow task that the history does not have yet, when a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnwrittenEvents {
    /// They follow the last event: a worker that fetches the history of its task finds its end there.
    Shown,
    /// They are left out: they may never come to be.
    Hidden,
}

/// A task is about to be given to a poller.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordStart {
    /// The task.
    pub task: OfferedTask,
    /// The poller.
    pub start: TaskStart,
}

/// The poller that a task is about to be given to.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskStart {
    /// The poller's identity.
    #[prost(string, tag = "1")]
    pub identity: String,
    /// The queue that the poller polled (a sticky one by its own name).
    #[prost(string, tag = "2")]
    pub polled_queue: String,
    /// The poller's build, as it reported it.
    #[prost(message, optional, tag = "3")]
    pub worker_version: Option<WorkerVersionCapabilities>,
    /// Names the worker process.
    #[prost(string, tag = "4")]
    pub worker_instance_key: String,
}

/// The answer to recording a task's start.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordedStart<T: prost::Message + Default + Clone> {
    /// Durably started (or found started by this very request): hand this to the poller.
    Started(Relayed<T>),
    /// The task is no longer wanted: drop it and look for another.
    Stale,
}

/// What one workflow owes to another.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SendToWorkflow {
    /// The other one, of the same namespace.
    #[prost(string, tag = "1")]
    pub workflow_id: String,
    /// In history's own encoding.
    #[prost(bytes = "bytes", tag = "2")]
    pub message: Bytes,
}

/// Which workflow an operator wants to see.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DumpWorkflow {
    /// Its id.
    #[prost(string, tag = "1")]
    pub workflow_id: String,
}
