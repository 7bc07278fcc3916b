//! What bad input gets: the API's code, a text that names field, value and what is allowed, and nothing stored.

use api::temporal::api::common::v1::{RetryPolicy, WorkflowExecution, WorkflowType};
use api::temporal::api::deployment::v1::WorkerDeploymentOptions;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use tonic::{Code, Status};

use super::neighbours::payloads;
use super::raw;
use super::server::{Client, Server};

fn start() -> wire::StartWorkflowExecutionRequest {
    wire::StartWorkflowExecutionRequest {
        namespace: "default".to_owned(),
        workflow_id: "order-1".to_owned(),
        workflow_type: Some(WorkflowType { name: "Order".to_owned() }),
        task_queue: Some(TaskQueue { name: "orders".to_owned(), ..TaskQueue::default() }),
        ..Default::default()
    }
}

async fn refused(client: &mut Client, change: impl FnOnce(&mut wire::StartWorkflowExecutionRequest)) -> (Code, String) {
    let mut request = start();
    change(&mut request);
    let status = client.start_workflow_execution(request).await.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn starts_that_make_no_sense_do_not_reach_history() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let invalid = |text: &str| (Code::InvalidArgument, text.to_owned());
    assert_eq!(refused(client, |request| request.workflow_id.clear()).await, invalid("workflow_id is not set"));
    let long = refused(client, |request| request.workflow_id = "é".repeat(501)).await;
    assert!(long.1.ends_with("is 1002 bytes long, at most 1000 are allowed"), "{}", long.1);
    let control = refused(client, |request| request.workflow_id = "order-1\r\n".to_owned()).await;
    assert_eq!(control, invalid("workflow_id has the control character U+000D at byte 7, names have none"));
    let control = refused(client, |request| request.task_queue.as_mut().unwrap().name = "\u{1b}[2J".to_owned()).await;
    assert_eq!(control, invalid("task_queue.name has the control character U+001B at byte 0, names have none"));
    let control = refused(client, |request| request.namespace = "default\0".to_owned()).await;
    assert_eq!(control, invalid("namespace has the control character U+0000 at byte 7, names have none"));
    let negative = refused(client, |request| {
        request.workflow_run_timeout = Some(prost_types::Duration { seconds: -5, nanos: 0 });
    });
    let text = "workflow_run_timeout is -5 s and 0 ns, a duration of 0 or more is allowed";
    assert_eq!(negative.await, invalid(text));
    let coefficient = refused(client, |request| {
        request.retry_policy = Some(RetryPolicy { backoff_coefficient: 0.1, ..RetryPolicy::default() });
    });
    let text = "retry_policy.backoff_coefficient is 0.1, 1 or more is allowed, or 0 for the default";
    assert_eq!(coefficient.await, invalid(text));
    let cron = refused(client, |request| request.cron_schedule = "61 * * * *".to_owned()).await;
    assert!(cron.0 == Code::InvalidArgument && cron.1.starts_with("cron_schedule \"61 * * * *\" cannot"), "{}", cron.1);
    let large = refused(client, |request| request.input = payloads(2 * 1024 * 1024)).await;
    assert!(
        large.1.starts_with("Blob data size exceeds limit. input is 2097")
            && large.1.ends_with("at most 2097152 are allowed"),
        "{}",
        large.1
    );
    let policy = refused(client, |request| request.workflow_id_reuse_policy = 42).await;
    assert_eq!(policy, invalid("workflow_id_reuse_policy is 42, which is not a value of that enum"));
    assert!(server.neighbours.seen().is_empty());

    client.start_workflow_execution(start()).await.unwrap();
    let seen = server.neighbours.last("start_workflow");
    assert!(!seen.request.contains("request_id: \"\""), "one is drawn when the caller has none: {}", seen.request);
}

#[tokio::test]
async fn versioned_workers_hear_why_they_are_refused() {
    let server = Server::start().await;
    let deployment_options = Some(WorkerDeploymentOptions {
        deployment_name: "orders".to_owned(),
        build_id: "1".to_owned(),
        worker_versioning_mode: 2,
    });
    let request = wire::PollWorkflowTaskQueueRequest {
        namespace: "default".to_owned(),
        task_queue: Some(TaskQueue { name: "orders".to_owned(), ..TaskQueue::default() }),
        deployment_options,
        ..Default::default()
    };
    let status = server.client().await.poll_workflow_task_queue(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("does not support worker versioning yet"), "{}", status.message());
}

#[tokio::test]
async fn ids_of_runs_and_names_of_signals_are_checked_everywhere() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let text = |status: Status| {
        assert_eq!(status.code(), Code::InvalidArgument);
        status.message().to_owned()
    };
    let execution =
        |run_id: &str| Some(WorkflowExecution { workflow_id: "order-1".to_owned(), run_id: run_id.to_owned() });
    let namespace = || "default".to_owned();
    let signal = wire::SignalWorkflowExecutionRequest {
        namespace: namespace(),
        workflow_execution: execution(""),
        ..Default::default()
    };
    let status = client.signal_workflow_execution(signal).await.unwrap_err();
    assert_eq!(text(status), "signal_name is not set");
    let cancel = wire::RequestCancelWorkflowExecutionRequest {
        namespace: namespace(),
        workflow_execution: execution("7"),
        ..Default::default()
    };
    let status = client.request_cancel_workflow_execution(cancel).await.unwrap_err();
    assert_eq!(text(status), "Invalid RunId. workflow_execution.run_id is \"7\", a UUID is needed");
    let terminate = wire::TerminateWorkflowExecutionRequest { namespace: namespace(), ..Default::default() };
    let status = client.terminate_workflow_execution(terminate).await.unwrap_err();
    assert_eq!(text(status), "workflow_execution is not set");
    let history = wire::GetWorkflowExecutionHistoryRequest {
        namespace: namespace(),
        execution: execution(""),
        maximum_page_size: -1,
        ..Default::default()
    };
    let status = client.get_workflow_execution_history(history).await.unwrap_err();
    assert_eq!(text(status), "maximum_page_size is -1, 0 or more is allowed");
    assert!(server.neighbours.seen().is_empty());
}

#[tokio::test]
async fn bytes_that_are_no_request_are_refused_by_the_codec_with_the_field() {
    let server = Server::start().await;
    let channel = server.channel().await;
    let path = "/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution";
    // Field 2, workflow_id, three bytes that are not UTF-8.
    let status = raw::call(&channel, path, &b"\x12\x03\xff\xfe\xfd"[..]).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("workflow_id") && status.message().contains("UTF-8"), "{}", status.message());
    let status = raw::call(&channel, path, &b"\x12\x7fshort"[..]).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(server.neighbours.seen().is_empty());
    raw::call(&channel, path, "").await.expect_err("the connection serves on");
}

#[tokio::test]
async fn a_namespace_that_is_not_named_is_asked_for() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let (code, text) = refused(client, |request| request.namespace.clear()).await;
    assert_eq!((code, text.as_str()), (Code::InvalidArgument, "namespace is not set"));
    let (code, text) = refused(client, |request| request.namespace = "n".repeat(1001)).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("is 1001 bytes long"), "{text}");
}
