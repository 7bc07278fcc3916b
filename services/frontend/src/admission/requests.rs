//! What admission sees of each request: its namespace, what it is for, and whether its call waits for something to happen.

use api::temporal::api::workflowservice::v1 as wire;

use super::Class;

/// A request of the API.
pub(crate) trait Request {
    /// What it is for.
    const CLASS: Class;
    /// The name of its namespace; empty for requests to none, and from workers that are known by their token.
    fn namespace(&self) -> &str;
    /// Whether its call waits for something to happen: then it holds no turn.
    fn waits(&self) -> bool {
        false
    }
}

macro_rules! requests {
    ($class:ident: $($request:ident),* $(,)?) => {
        $(impl Request for wire::$request {
            const CLASS: Class = Class::$class;
            fn namespace(&self) -> &str {
                &self.namespace
            }
        })*
    };
}

macro_rules! waiting {
    ($($request:ident: $waits:expr;)*) => {
        $(impl Request for wire::$request {
            const CLASS: Class = Class::Beginning;
            fn namespace(&self) -> &str {
                &self.namespace
            }
            fn waits(&self) -> bool {
                let waits: fn(&wire::$request) -> bool = $waits;
                waits(self)
            }
        })*
    };
}

macro_rules! to_none {
    ($($request:ident),*) => {
        $(impl Request for wire::$request {
            const CLASS: Class = Class::Beginning;
            fn namespace(&self) -> &str {
                ""
            }
        })*
    };
}

requests! {
    Finishing:
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
    RespondQueryTaskCompletedRequest,
    RecordActivityTaskHeartbeatRequest,
    RecordActivityTaskHeartbeatByIdRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskCompletedByIdRequest,
    RespondActivityTaskFailedRequest,
    RespondActivityTaskFailedByIdRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCanceledByIdRequest,
    ShutdownWorkerRequest,
}

requests! {
    Beginning:
    DescribeNamespaceRequest,
    UpdateNamespaceRequest,
    StartWorkflowExecutionRequest,
    SignalWorkflowExecutionRequest,
    SignalWithStartWorkflowExecutionRequest,
    RequestCancelWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryReverseRequest,
    ResetStickyTaskQueueRequest,
    DescribeTaskQueueRequest,
}

waiting! {
    PollWorkflowTaskQueueRequest: |_| true;
    PollActivityTaskQueueRequest: |_| true;
    PollNexusTaskQueueRequest: |_| true;
    QueryWorkflowRequest: |_| true;
    GetWorkflowExecutionHistoryRequest: |request| request.wait_new_event;
}

// A namespace that is being registered has no turns of its own yet.
to_none! { GetSystemInfoRequest, GetClusterInfoRequest, ListNamespacesRequest, RegisterNamespaceRequest }
