//! Polls: how long they wait, how many may, and what ends them.

use std::time::Duration;

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use ids::Timestamp;
use runtime::Runtime;
use settings::{FrontendSettings, QuotaSettings};
use storage::memory::MemoryStore;
use tonic::{Code, Request};

use super::server::{Client, Server};

fn poll(queue: &str) -> wire::PollWorkflowTaskQueueRequest {
    wire::PollWorkflowTaskQueueRequest {
        namespace: "default".to_owned(),
        task_queue: Some(TaskQueue { name: queue.to_owned(), ..TaskQueue::default() }),
        ..Default::default()
    }
}

fn within(
    timeout: Duration,
    request: wire::PollWorkflowTaskQueueRequest,
) -> Request<wire::PollWorkflowTaskQueueRequest> {
    let mut request = Request::new(request);
    request.set_timeout(timeout);
    request
}

/// How long matching may wait, counted from before the call.
fn poll_time(server: &Server, before: Timestamp) -> Duration {
    server.neighbours.last("poll_workflow_task_queue").deadline.unwrap().since(before)
}

fn about(waited: Duration, expected: u64) -> bool {
    let expected = Duration::from_secs(expected);
    waited >= expected && waited < expected + Duration::from_secs(30)
}

#[tokio::test]
async fn matchings_deadline_is_a_second_before_the_callers() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let before = Runtime::system().now();
    client.poll_workflow_task_queue(within(Duration::from_secs(40), poll("empty"))).await.unwrap();
    assert!(about(poll_time(&server, before), 39));
    let before = Runtime::system().now();
    client.poll_workflow_task_queue(within(Duration::from_secs(400), poll("empty"))).await.unwrap();
    assert!(about(poll_time(&server, before), 60));
    let mut status = tonic::Status::ok("");
    // The client, too, gives such a call up after its time, which may be before it hears of the answer.
    for _ in 0..20 {
        let short = within(Duration::from_millis(1500), poll("empty"));
        status = client.poll_workflow_task_queue(short).await.unwrap_err();
        if status.code() != Code::Cancelled && status.code() != Code::DeadlineExceeded {
            break;
        }
    }
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "Context timeout is too short. grpc-timeout of a poll is 1.5s, at least 2s is needed");
}

#[tokio::test]
async fn an_empty_poll_has_no_token() {
    let server = Server::start().await;
    let answer = server.client().await.poll_workflow_task_queue(poll("empty")).await.unwrap().into_inner();
    assert_eq!(answer, wire::PollWorkflowTaskQueueResponse::default());
}

/// Starts a poll that waits, and returns once matching has it.
async fn waiting(
    server: &Server,
    mut client: Client,
) -> tokio::task::JoinHandle<Result<wire::PollWorkflowTaskQueueResponse, tonic::Status>> {
    let before = server.neighbours.seen().len();
    let poll = Runtime::system()
        .spawn(async move { client.poll_workflow_task_queue(poll("waits")).await.map(tonic::Response::into_inner) });
    while server.neighbours.seen().len() == before {
        tokio::task::yield_now().await;
    }
    poll
}

#[tokio::test]
async fn shutting_down_ends_polls_empty_and_serving_without_error() {
    let mut server = Server::start().await;
    let client = server.client().await;
    let poll = waiting(&server, client.clone()).await;
    let mut waits = client.clone();
    let history = Runtime::system().spawn(async move {
        let request = wire::GetWorkflowExecutionHistoryRequest {
            namespace: "default".to_owned(),
            execution: Some(WorkflowExecution { workflow_id: "order-1".to_owned(), run_id: String::new() }),
            wait_new_event: true,
            history_event_filter_type: 2,
            ..Default::default()
        };
        waits.get_workflow_execution_history(request).await
    });
    while !server.neighbours.seen().iter().any(|seen| seen.method == "get_history") {
        tokio::task::yield_now().await;
    }
    let mut asks = client.clone();
    let query = Runtime::system().spawn(async move {
        let request = wire::QueryWorkflowRequest {
            namespace: "default".to_owned(),
            execution: Some(WorkflowExecution { workflow_id: "order-1".to_owned(), run_id: String::new() }),
            query: Some(WorkflowQuery { query_type: "unanswered".to_owned(), ..Default::default() }),
            ..Default::default()
        };
        asks.query_workflow(request).await
    });
    while !server.neighbours.seen().iter().any(|seen| seen.method == "query_workflow") {
        tokio::task::yield_now().await;
    }
    server.shutdown.cancel();
    assert_eq!(query.await.unwrap().unwrap_err().message(), "the server is stopping, try another");
    assert_eq!(poll.await.unwrap().unwrap(), wire::PollWorkflowTaskQueueResponse::default());
    let status = history.await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server is stopping, try another"));
    drop(client);
    (&mut server.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn polls_above_the_bound_are_refused_and_a_poll_that_left_gives_its_place_back() {
    let quotas = QuotaSettings { waiting_polls: 2, ..QuotaSettings::default() };
    let server = Server::on(MemoryStore::new(), FrontendSettings { quotas, ..FrontendSettings::default() }).await;
    let client = server.client().await;
    let first = waiting(&server, client.clone()).await;
    let _second = waiting(&server, client.clone()).await;
    let mut third = client.clone();
    let status = third.poll_workflow_task_queue(poll("empty")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "namespace \"default\" has 2 polls of this kind waiting, 2 are allowed");
    // Its caller goes away: the handler is dropped, and with it the place.
    first.abort();
    loop {
        match third.poll_workflow_task_queue(poll("empty")).await {
            Ok(_) => break,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
        }
    }
}

/// A service that is not served, and yet workers poll for it: the rules are those of any other poll.
#[tokio::test]
async fn polls_for_nexus_tasks_wait_are_bounded_and_end_with_the_server() {
    let quotas = QuotaSettings { waiting_polls: 1, ..QuotaSettings::default() };
    let server = Server::on(MemoryStore::new(), FrontendSettings { quotas, ..FrontendSettings::default() }).await;
    let client = &mut server.client().await;
    let poll = |name: &str, timeout| {
        let mut request = Request::new(wire::PollNexusTaskQueueRequest {
            namespace: "default".to_owned(),
            task_queue: Some(TaskQueue { name: name.to_owned(), ..TaskQueue::default() }),
            ..Default::default()
        });
        request.set_timeout(Duration::from_millis(timeout));
        request
    };
    let before = Runtime::system().now();
    client.poll_nexus_task_queue(poll("empty", 40_000)).await.unwrap();
    let poll_time = server.neighbours.last("poll_nexus_task_queue").deadline.unwrap().since(before);
    assert!(about(poll_time, 39), "{poll_time:?}");
    let mut waits = client.clone();
    let waiting = poll("waits", 300_000);
    let waiting = Runtime::system().spawn(async move { waits.poll_nexus_task_queue(waiting).await });
    while server.neighbours.last("poll_nexus_task_queue").request.contains("empty") {
        tokio::task::yield_now().await;
    }
    let status = client.poll_nexus_task_queue(poll("empty", 40_000)).await.unwrap_err();
    assert_eq!(status.message(), "namespace \"default\" has 1 polls of this kind waiting, 1 are allowed");
    server.shutdown.cancel();
    let answer = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!(answer, wire::PollNexusTaskQueueResponse::default());
}

#[tokio::test]
async fn a_namespace_above_its_rate_gets_resource_exhausted() {
    let quotas = QuotaSettings { namespace_rps: 1.0, ..QuotaSettings::default() };
    let server = Server::on(MemoryStore::new(), FrontendSettings { quotas, ..FrontendSettings::default() }).await;
    let client = &mut server.client().await;
    let mut refused = None;
    for _ in 0..20 {
        refused = refused.or(client.poll_workflow_task_queue(poll("empty")).await.err());
    }
    let status = refused.expect("twenty requests at once are more than one a second");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "namespace \"default\" may make 1 requests per second, try again");
}

#[tokio::test]
async fn a_panic_is_internal_and_the_connection_serves_on() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let waits = waiting(&server, client.clone()).await;
    let status = client.poll_workflow_task_queue(poll("panics")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("a bug in matching"), "what panics say is for the log");
    client.poll_workflow_task_queue(poll("empty")).await.unwrap();
    assert!(!waits.is_finished(), "other requests on the connection are untouched");
    waits.abort();
}
