//! WorkflowService: its rows of the table of methods, and a file for each method.

mod activity;
mod describe_namespace;
mod describe_task_queue;
mod describe_workflow_execution;
mod execute_multi_operation;
mod get_cluster_info;
mod get_system_info;
mod get_workflow_execution_history;
mod get_workflow_execution_history_reverse;
mod history_page;
mod list_namespaces;
mod namespace_config;
mod outgoing;
mod poll_activity_task_queue;
mod poll_nexus_task_queue;
mod poll_workflow_execution_update;
mod poll_workflow_task_queue;
mod query_workflow;
mod record_activity_task_heartbeat;
mod record_activity_task_heartbeat_by_id;
mod register_namespace;
mod request_cancel_workflow_execution;
mod reset_sticky_task_queue;
mod reset_workflow_execution;
mod respond_activity_task_canceled;
mod respond_activity_task_canceled_by_id;
mod respond_activity_task_completed;
mod respond_activity_task_completed_by_id;
mod respond_activity_task_failed;
mod respond_activity_task_failed_by_id;
mod respond_query_task_completed;
mod respond_workflow_task_completed;
mod respond_workflow_task_failed;
mod shutdown_worker;
mod signal_with_start_workflow_execution;
mod signal_workflow_execution;
mod start_workflow_execution;
mod terminate_workflow_execution;
mod update_namespace;
mod update_workflow_execution;

use crate::methods::{Method, row};

/// The full name of the service.
pub(crate) const NAME: &str = "temporal.api.workflowservice.v1.WorkflowService";

/// The methods that are served.
pub(crate) fn methods() -> Vec<Method> {
    vec![
        row!(GetSystemInfo, get_system_info, Read),
        row!(GetClusterInfo, get_cluster_info, Read),
        row!(RegisterNamespace, register_namespace, Admin),
        row!(DescribeNamespace, describe_namespace, Read),
        row!(ListNamespaces, list_namespaces, Read),
        row!(UpdateNamespace, update_namespace, Admin),
        row!(StartWorkflowExecution, start_workflow_execution, Write),
        row!(SignalWorkflowExecution, signal_workflow_execution, Write),
        row!(SignalWithStartWorkflowExecution, signal_with_start_workflow_execution, Write),
        row!(UpdateWorkflowExecution, update_workflow_execution, Write, waits),
        row!(PollWorkflowExecutionUpdate, poll_workflow_execution_update, Read, waits),
        row!(ExecuteMultiOperation, execute_multi_operation, Write, waits),
        row!(RequestCancelWorkflowExecution, request_cancel_workflow_execution, Write),
        row!(TerminateWorkflowExecution, terminate_workflow_execution, Write),
        row!(ResetWorkflowExecution, reset_workflow_execution, Write),
        row!(DescribeWorkflowExecution, describe_workflow_execution, Read),
        row!(GetWorkflowExecutionHistory, get_workflow_execution_history, Read, waits if |request| request.wait_new_event),
        row!(GetWorkflowExecutionHistoryReverse, get_workflow_execution_history_reverse, Read),
        row!(QueryWorkflow, query_workflow, Read, waits),
        row!(PollWorkflowTaskQueue, poll_workflow_task_queue, Worker, waits),
        row!(PollActivityTaskQueue, poll_activity_task_queue, Worker, waits),
        row!(PollNexusTaskQueue, poll_nexus_task_queue, Worker, waits),
        row!(RespondWorkflowTaskCompleted, respond_workflow_task_completed, Worker),
        row!(RespondWorkflowTaskFailed, respond_workflow_task_failed, Worker),
        row!(RespondQueryTaskCompleted, respond_query_task_completed, Worker),
        row!(RecordActivityTaskHeartbeat, record_activity_task_heartbeat, Worker),
        row!(RecordActivityTaskHeartbeatById, record_activity_task_heartbeat_by_id, Worker),
        row!(RespondActivityTaskCompleted, respond_activity_task_completed, Worker),
        row!(RespondActivityTaskCompletedById, respond_activity_task_completed_by_id, Worker),
        row!(RespondActivityTaskFailed, respond_activity_task_failed, Worker),
        row!(RespondActivityTaskFailedById, respond_activity_task_failed_by_id, Worker),
        row!(RespondActivityTaskCanceled, respond_activity_task_canceled, Worker),
        row!(RespondActivityTaskCanceledById, respond_activity_task_canceled_by_id, Worker),
        row!(ResetStickyTaskQueue, reset_sticky_task_queue, Worker),
        row!(ShutdownWorker, shutdown_worker, Worker),
        row!(DescribeTaskQueue, describe_task_queue, Read),
    ]
}
