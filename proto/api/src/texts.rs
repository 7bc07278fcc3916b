//! The texts that clients compare, or show as they are. They are as much a part of the API as its messages: each is the
//! public server's to the letter, and is said nowhere but through this list. What else an error has to say follows after it.
//!
//! Compared by SDKs and the UI, in these places (sdk-core 0.10, Go 1.51, Java 1.38, TypeScript 1.24, UI 2.58):
//!
//! | text | who compares it | what for |
//! | --- | --- | --- |
//! | [`UNHANDLED_COMMAND`] | sdk-core `worker/workflow/mod.rs`, the whole message of an INVALID_ARGUMENT; Java `PollerOptions`, its beginning; the UI, the whole message of a WorkflowTaskFailed event | to go on polling without an alarm; not to count the event as a problem |
//! | [`unknown_method`] | Go `internal_workflow_client.go` (`unknown method` or `not implemented`), sdk-core `client/lib.rs` (`unknown method`), Java `SystemInfoInterceptor` (all of it), each of an UNIMPLEMENTED | a server without GetSystemInfo has no capabilities, instead of being no server |
//! | [`MESSAGE_TOO_LARGE`] | Go `retry/interceptor.go`, sdk-core `client/retry.rs`, Java `GrpcMessageTooLargeException`, the beginning of a RESOURCE_EXHAUSTED | to fail the task with that cause, instead of sending it again |
//!
//! The rest is compared by programs that were written against the public server, and by the test suites of SDKs, such as
//! TypeScript's (`workflow execution already completed`), since no code and no detail tells these cases apart.

/// A workflow was to close while events that its worker had not seen were there. Nothing may follow it.
pub const UNHANDLED_COMMAND: &str = "UnhandledCommand";

/// How the refusal of a message that is too large begins. The words are those of gRPC in Go.
pub const MESSAGE_TOO_LARGE: &str = "grpc: received message larger than max";

/// A run is closed, and what was asked is for open ones.
pub const ALREADY_COMPLETED: &str = "workflow execution already completed";

/// A workflow task is not, or no longer, the one that its run waits for.
pub const WORKFLOW_TASK_NOT_FOUND: &str = "Workflow task not found.";

/// An open run has no room for what is asked until it has closed, or its next run has begun.
pub const WORKFLOW_IS_CLOSING: &str = "workflow operation can not be applied because workflow is closing";

/// The workflow closed before it had looked at an update.
pub const UPDATE_ABORTED: &str = "workflow update was aborted by closing workflow";

/// The outcome of an update whose workflow had accepted it and closed.
pub const UPDATE_ABANDONED: &str = "Workflow Update failed because the Workflow completed before the Update completed.";

/// The outcome of an update that a worker got and did not look at.
pub const UPDATE_UNPROCESSED: &str = "Workflow Update is rejected because it wasn't processed by worker. Probably, Workflow Update is not supported by the worker.";

/// The workflow task that carried an update failed for what the worker said of it.
pub const UPDATE_TASK_FAILED: &str =
    "Unable to perform workflow execution update due to unexpected workflow task failure.";

/// Workflow tasks of the run fail again and again.
pub const UPDATE_NOT_READY: &str = "Unable to perform workflow execution update due to Workflow Task in failed state.";

/// A request that must be recognised when it comes again has no id.
pub const REQUEST_ID_NOT_SET: &str = "RequestId is not set on request.";

/// An update has no request, or one without meta.
pub const UPDATE_META_NOT_SET: &str = "Update meta is not set on request.";

/// An update has no input.
pub const UPDATE_INPUT_NOT_SET: &str = "Update input is not set on request.";

/// An update has no name.
pub const UPDATE_NAME_NOT_SET: &str = "Update name is not set on request.";

/// How the refusal of an update id begins that is too long.
pub const UPDATE_ID_TOO_LONG: &str = "UpdateId length exceeds limit.";

/// A caller would wait for an update to be admitted, which is nothing to rely on.
pub const UPDATE_ADMITTED_NOT_AWAITED: &str =
    "UpdateWorkflowExecution issued asynchronously and waiting on update admitted is not supported.";

/// Several operations are other than a start and an update.
pub const OPERATIONS_NOT_START_AND_UPDATE: &str = "Operations have to be exactly [Start, Update].";

/// One of the operations of an update-with-start failed.
pub const MULTI_OPERATION_FAILED: &str = "Update-with-Start could not be executed.";

/// What is said of the other operations.
pub const OPERATION_ABORTED: &str = "Operation was aborted.";

/// How the refusal of a run id that is no UUID begins.
pub const INVALID_RUN_ID: &str = "Invalid RunId.";

/// How the refusal of payloads that are too large begins.
pub const BLOB_TOO_LARGE: &str = "Blob data size exceeds limit.";

/// How the refusal of a memo that is too large begins.
pub const MEMO_TOO_LARGE: &str = "Memo size exceeds limit.";

/// How the refusal of a poll begins whose caller does not wait for long enough.
pub const POLL_TOO_SHORT: &str = "Context timeout is too short.";

/// Why a run is terminated whose history has too many events.
pub const HISTORY_TOO_LONG: &str = "Workflow history count exceeds limit.";

/// Why a run is terminated whose history has too many bytes.
pub const HISTORY_TOO_LARGE: &str = "Workflow history size exceeds limit.";

/// Why a run is terminated whose state has too many bytes.
pub const STATE_TOO_LARGE: &str = "Workflow mutable state size exceeds limit.";

/// A run has taken all the updates that it can take.
#[must_use]
pub fn too_many_updates(most: usize) -> String {
    format!(
        "The limit on the total number of distinct updates in this workflow has been reached ({most}). Make sure any \
         duplicate updates share an Update ID so the server can deduplicate them, and consider rejecting updates that \
         you aren't going to process"
    )
}

/// An RPC that is not served.
#[must_use]
pub fn unknown_method(service: &str, method: &str) -> String {
    format!("unknown method {method} for service {service}: not implemented")
}

/// No such run of a workflow that is there.
#[must_use]
pub fn run_not_found(workflow_id: &str, run_id: &str) -> String {
    format!("workflow execution not found for workflow ID {workflow_id:?} and run ID {run_id:?}")
}

/// No such workflow.
#[must_use]
pub fn workflow_not_found(workflow_id: &str) -> String {
    format!("workflow not found for ID: {workflow_id}")
}

/// A start is refused since a run is open.
#[must_use]
pub fn already_running(workflow_id: &str, run_id: &str) -> String {
    format!("Workflow execution is already running. WorkflowId: {workflow_id}, RunId: {run_id}.")
}

/// A start is refused since a run was there, by the reuse policy of this name.
#[must_use]
pub fn already_finished(workflow_id: &str, run_id: &str, reuse_policy: &str) -> String {
    format!(
        "Workflow execution already finished. WorkflowId: {workflow_id}, RunId: {run_id}. Workflow Id reuse policy: \
         {reuse_policy}."
    )
}

/// No such namespace.
#[must_use]
pub fn namespace_not_found(name: &str) -> String {
    format!("Namespace {name} is not found.")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the public server 1.32.0 said them.
    #[test]
    fn the_texts_are_the_public_servers() {
        let table = [
            (UNHANDLED_COMMAND.to_owned(), "UnhandledCommand"),
            (MESSAGE_TOO_LARGE.to_owned(), "grpc: received message larger than max"),
            (ALREADY_COMPLETED.to_owned(), "workflow execution already completed"),
            (WORKFLOW_TASK_NOT_FOUND.to_owned(), "Workflow task not found."),
            (INVALID_RUN_ID.to_owned(), "Invalid RunId."),
            (BLOB_TOO_LARGE.to_owned(), "Blob data size exceeds limit."),
            (MEMO_TOO_LARGE.to_owned(), "Memo size exceeds limit."),
            (POLL_TOO_SHORT.to_owned(), "Context timeout is too short."),
            (HISTORY_TOO_LONG.to_owned(), "Workflow history count exceeds limit."),
            (HISTORY_TOO_LARGE.to_owned(), "Workflow history size exceeds limit."),
            (STATE_TOO_LARGE.to_owned(), "Workflow mutable state size exceeds limit."),
            (
                unknown_method("temporal.api.workflowservice.v1.WorkflowService", "GetSystemInfo"),
                "unknown method GetSystemInfo for service temporal.api.workflowservice.v1.WorkflowService: not implemented",
            ),
            (workflow_not_found("order-1"), "workflow not found for ID: order-1"),
            (
                run_not_found("order-1", "r"),
                "workflow execution not found for workflow ID \"order-1\" and run ID \"r\"",
            ),
            (already_running("order-1", "r"), "Workflow execution is already running. WorkflowId: order-1, RunId: r."),
            (
                already_finished("order-1", "r", "RejectDuplicate"),
                "Workflow execution already finished. WorkflowId: order-1, RunId: r. Workflow Id reuse policy: RejectDuplicate.",
            ),
            (namespace_not_found("orders"), "Namespace orders is not found."),
        ];
        for (text, expected) in table {
            assert_eq!(text, expected);
        }
    }
}
