//! Answers of activities that are too large: the activity fails and says why, since the worker would only send the same
//! bytes again.

use api::temporal::api::failure::v1::Failure;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use bytes::Bytes;

use super::neighbours::{RUN, payloads};
use super::server::{Client, Server};

const TOO_LARGE: usize = 2 * 1024 * 1024;

async fn token(client: &mut Client) -> Bytes {
    let request = wire::PollActivityTaskQueueRequest {
        namespace: "default".to_owned(),
        task_queue: Some(TaskQueue { name: "orders".to_owned(), ..TaskQueue::default() }),
        ..Default::default()
    };
    client.poll_activity_task_queue(request).await.unwrap().into_inner().task_token
}

#[tokio::test]
async fn a_result_that_is_too_large_fails_the_activity_for_good() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let task_token = token(client).await;
    let request = wire::RespondActivityTaskCompletedRequest {
        namespace: "default".to_owned(),
        task_token,
        result: payloads(TOO_LARGE),
        ..Default::default()
    };
    client.respond_activity_task_completed(request).await.unwrap();
    let seen = server.neighbours.last("fail_activity").request;
    assert!(seen.contains("activity result is 2097") && seen.contains("non_retryable: true"), "{seen}");
}

#[tokio::test]
async fn heartbeat_details_that_are_too_large_fail_the_activity_and_end_its_work() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let task_token = token(client).await;
    let request = wire::RecordActivityTaskHeartbeatRequest {
        namespace: "default".to_owned(),
        task_token,
        details: payloads(TOO_LARGE),
        ..Default::default()
    };
    let answer = client.record_activity_task_heartbeat(request).await.unwrap().into_inner();
    assert!(answer.cancel_requested);
    let seen = server.neighbours.last("fail_activity").request;
    assert!(seen.contains("heartbeat details is 2097"), "{seen}");
}

#[tokio::test]
async fn failures_are_cut_to_what_can_be_kept() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let deep = (0..90).fold(Failure::default(), |cause, level| Failure {
        message: format!("level {}", 89 - level),
        cause: Some(Box::new(cause)),
        ..Failure::default()
    });
    let large = Failure { message: "m".repeat(3 * 1024 * 1024), ..Failure::default() };
    for (failure, kept, gone) in [(deep, "level 49", "level 60"), (large, "failure is 3145", "no such text")] {
        let task_token = token(client).await;
        let request = wire::RespondActivityTaskFailedRequest {
            namespace: "default".to_owned(),
            task_token,
            failure: Some(failure),
            ..Default::default()
        };
        client.respond_activity_task_failed(request).await.unwrap();
        let seen = server.neighbours.last("fail_activity").request;
        assert!(seen.contains(kept) && !seen.contains(gone) && seen.len() < 100_000);
    }
}

#[tokio::test]
async fn activities_are_found_by_their_ids_too() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let request = wire::RespondActivityTaskCompletedByIdRequest {
        namespace: "default".to_owned(),
        workflow_id: "order-1".to_owned(),
        run_id: RUN.to_owned(),
        activity_id: "charge".to_owned(),
        identity: "a client".to_owned(),
        ..Default::default()
    };
    client.respond_activity_task_completed_by_id(request.clone()).await.unwrap();
    let seen = server.neighbours.last("complete_activity").request;
    assert!(seen.contains("Id { workflow_id: \"order-1\"") && seen.contains("a client"), "{seen}");
    let status = client
        .respond_activity_task_completed_by_id(wire::RespondActivityTaskCompletedByIdRequest {
            activity_id: String::new(),
            ..request
        })
        .await
        .unwrap_err();
    assert_eq!(status.message(), "activity_id is not set");

    let request = wire::RecordActivityTaskHeartbeatByIdRequest {
        namespace: "default".to_owned(),
        workflow_id: "order-1".to_owned(),
        activity_id: "charge".to_owned(),
        ..Default::default()
    };
    client.record_activity_task_heartbeat_by_id(request).await.unwrap();
    server.neighbours.last("heartbeat_activity");
}

#[tokio::test]
async fn a_query_answer_that_is_too_large_becomes_a_failed_query() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let poll = wire::PollWorkflowTaskQueueRequest {
        namespace: "default".to_owned(),
        task_queue: Some(TaskQueue { name: "queries".to_owned(), ..TaskQueue::default() }),
        ..Default::default()
    };
    let task = client.poll_workflow_task_queue(poll).await.unwrap().into_inner();
    let answer = wire::RespondQueryTaskCompletedRequest {
        namespace: "default".to_owned(),
        task_token: task.task_token,
        completed_type: 1,
        query_result: payloads(TOO_LARGE),
        ..Default::default()
    };
    client.respond_query_task_completed(answer).await.unwrap();
    let seen = server.neighbours.last("respond_query_task_completed").request;
    assert!(seen.contains("query_result is 2097") && seen.contains(", 2, "), "{seen}");
}
