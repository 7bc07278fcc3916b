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
