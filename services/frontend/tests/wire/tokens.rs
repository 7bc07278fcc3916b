//! Tokens on their way out are sealed, wherever they leave; on their way in they must be ours, and for this namespace.

use api::temporal::api::common::v1::{WorkflowExecution, WorkflowType};
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use bytes::Bytes;
use calls::token::WorkflowTaskToken;
use prost::Message;
use tonic::{Code, Status};

use super::neighbours::RUN;
use super::server::{Client, Server};

fn queue(name: &str) -> Option<TaskQueue> {
    Some(TaskQueue { name: name.to_owned(), ..TaskQueue::default() })
}

async fn poll(client: &mut Client, namespace: &str, name: &str) -> wire::PollWorkflowTaskQueueResponse {
    let request = wire::PollWorkflowTaskQueueRequest {
        namespace: namespace.to_owned(),
        task_queue: queue(name),
        ..Default::default()
    };
    client.poll_workflow_task_queue(request).await.unwrap().into_inner()
}

async fn complete(
    client: &mut Client,
    namespace: &str,
    task_token: Bytes,
) -> Result<wire::RespondWorkflowTaskCompletedResponse, Status> {
    let request = wire::RespondWorkflowTaskCompletedRequest {
        namespace: namespace.to_owned(),
        task_token,
        return_new_workflow_task: true,
        ..Default::default()
    };
    client.respond_workflow_task_completed(request).await.map(tonic::Response::into_inner)
}

fn history(token: &Bytes, workflow_id: &str, run_id: &str) -> wire::GetWorkflowExecutionHistoryRequest {
    wire::GetWorkflowExecutionHistoryRequest {
        namespace: "default".to_owned(),
        execution: Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: run_id.to_owned() }),
        next_page_token: token.clone(),
        ..Default::default()
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    status.message().to_owned()
}

#[tokio::test]
async fn a_polled_task_is_completed_and_what_comes_back_is_sealed_too() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let task = poll(client, "default", "orders").await;
    let answer = complete(client, "default", task.task_token).await.unwrap();
    let seen = server.neighbours.last("complete_workflow_task");
    assert!(seen.request.contains("workflow_id: \"order-1\"") && seen.request.contains("stamp: 9"), "{}", seen.request);

    let next = answer.workflow_task.unwrap();
    complete(client, "default", next.task_token).await.expect("the inline task's token was sealed");
    let activity = answer.activity_tasks.into_iter().next().unwrap();
    let request = wire::RespondActivityTaskCompletedRequest {
        namespace: "default".to_owned(),
        task_token: activity.task_token,
        ..Default::default()
    };
    client.respond_activity_task_completed(request).await.expect("the eager activity's token was sealed");
    let seen = server.neighbours.last("complete_activity");
    assert!(seen.request.contains("activity_id: \"charge\""), "{}", seen.request);
}

#[tokio::test]
async fn an_eagerly_started_task_can_be_completed() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let request = wire::StartWorkflowExecutionRequest {
        namespace: "default".to_owned(),
        workflow_id: "order-1".to_owned(),
        workflow_type: Some(WorkflowType { name: "Order".to_owned() }),
        task_queue: queue("orders"),
        request_eager_execution: true,
        ..Default::default()
    };
    let started = client.start_workflow_execution(request).await.unwrap().into_inner();
    let task = started.eager_workflow_task.unwrap();
    complete(client, "default", task.task_token).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_names_no_namespace_is_known_by_its_token() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let task = poll(client, "other", "orders").await;
    let namespace = server.neighbours.last("poll_workflow_task_queue").namespace_id;
    complete(client, "", task.task_token).await.unwrap();
    assert_eq!(server.neighbours.last("complete_workflow_task").namespace_id, namespace);
}

#[tokio::test]
async fn forged_changed_and_foreign_tokens_are_refused() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let task = poll(client, "default", "orders").await;
    let calls = server.neighbours.seen().len();

    let namespace_id = server.neighbours.last("poll_workflow_task_queue").namespace_id;
    let bare = WorkflowTaskToken { namespace_id, workflow_id: "order-1".to_owned(), ..Default::default() };
    let forged = refusal(complete(client, "default", Bytes::from(bare.encode_to_vec())).await);
    assert!(forged.starts_with("task_token is "), "{forged}");
    let mut changed = task.task_token.to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let changed = refusal(complete(client, "default", Bytes::from(changed)).await);
    assert_eq!(changed, "task_token is not one that this cluster has given out");
    let moved = refusal(complete(client, "other", task.task_token.clone()).await);
    assert_eq!(moved, "task_token belongs to another namespace than \"other\"");
    assert_eq!(refusal(complete(client, "default", Bytes::new()).await), "task_token is not set");
    let page = refusal(complete(client, "default", task.next_page_token).await);
    assert_eq!(page, "task_token is not one that this cluster has given out");
    assert_eq!(server.neighbours.seen().len(), calls, "nothing got through");
}

#[tokio::test]
async fn tokens_survive_a_restart_but_not_a_move_to_another_cluster() {
    let server = Server::start().await;
    let task = poll(&mut server.client().await, "default", "orders").await;
    let restarted = Server::on(server.store.clone(), Default::default()).await;
    complete(&mut restarted.client().await, "default", task.task_token.clone()).await.unwrap();
    let elsewhere = Server::start().await;
    let refused = refusal(complete(&mut elsewhere.client().await, "default", task.task_token).await);
    assert_eq!(refused, "task_token is not one that this cluster has given out");
}

#[tokio::test]
async fn a_polled_tasks_page_token_leads_into_its_history_and_on() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let task = poll(client, "default", "orders").await;
    let first = client.get_workflow_execution_history(history(&task.next_page_token, "order-1", RUN)).await.unwrap();
    let seen = server.neighbours.last("get_history");
    assert!(seen.request.contains("next_event_id: 2") && seen.request.contains("end_event_id: 4"), "{}", seen.request);
    let next = first.into_inner().next_page_token;
    client.get_workflow_execution_history(history(&next, "order-1", "")).await.unwrap();

    let other = history(&next, "order-2", "");
    assert_eq!(
        refusal(client.get_workflow_execution_history(other).await),
        "next_page_token is for workflow \"order-1\", the request for \"order-2\""
    );
    let run = "11111111-7f9c-7c6e-8f44-3b6f9a2b8c01";
    let other = refusal(client.get_workflow_execution_history(history(&next, "order-1", run)).await);
    assert!(other.starts_with("next_page_token is for run "), "{other}");
    let elsewhere =
        wire::GetWorkflowExecutionHistoryRequest { namespace: "other".to_owned(), ..history(&next, "order-1", "") };
    let moved = refusal(client.get_workflow_execution_history(elsewhere).await);
    assert_eq!(moved, "next_page_token belongs to another namespace than \"other\"");
}

#[tokio::test]
async fn a_page_token_of_one_direction_does_not_lead_the_other_way() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let request = wire::GetWorkflowExecutionHistoryReverseRequest {
        namespace: "default".to_owned(),
        execution: Some(WorkflowExecution { workflow_id: "order-1".to_owned(), run_id: String::new() }),
        ..Default::default()
    };
    let answer = client.get_workflow_execution_history_reverse(request.clone()).await.unwrap().into_inner();
    let again =
        wire::GetWorkflowExecutionHistoryReverseRequest { next_page_token: answer.next_page_token.clone(), ..request };
    client.get_workflow_execution_history_reverse(again).await.unwrap();
    let forwards =
        refusal(client.get_workflow_execution_history(history(&answer.next_page_token, "order-1", "")).await);
    assert_eq!(forwards, "next_page_token is not one that this cluster has given out");
}

#[tokio::test]
async fn query_tasks_have_tokens_of_their_own() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let task = poll(client, "default", "queries").await;
    let refused = refusal(complete(client, "default", task.task_token.clone()).await);
    assert_eq!(refused, "task_token is not one that this cluster has given out");
    let answer = wire::RespondQueryTaskCompletedRequest {
        namespace: "default".to_owned(),
        task_token: task.task_token,
        completed_type: 1,
        ..Default::default()
    };
    client.respond_query_task_completed(answer).await.unwrap();
    let seen = server.neighbours.last("respond_query_task_completed");
    assert!(seen.request.contains("query_id: \"q-1\""), "{}", seen.request);
}

#[tokio::test]
async fn command_line_and_web_page_are_not_shown_events_that_are_not_written() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let readers = [
        (Some("temporal-cli"), "Hidden"),
        (Some("temporal-ui"), "Hidden"),
        (Some("temporal-python"), "Shown"),
        (Some("of-our-own"), "Shown"),
        (None, "Shown"),
    ];
    for (name, expected) in readers {
        let mut request = tonic::Request::new(history(&Bytes::new(), "order-1", RUN));
        if let Some(name) = name {
            request.metadata_mut().insert("client-name", name.parse().unwrap());
        }
        client.get_workflow_execution_history(request).await.unwrap();
        let asked = server.neighbours.last("get_history").request;
        assert!(asked.ends_with(&format!("{expected})")), "{name:?}: {asked}");
    }
}
