//! Turns of namespaces: what a flood of one does to another.

use std::time::Duration;

use api::temporal::api::common::v1::{WorkflowExecution, WorkflowType};
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use settings::{AdmissionSettings, FrontendSettings};
use storage::memory::MemoryStore;
use tokio::task::JoinSet;
use tonic::Code;

use super::server::{Client, Server};

const LEAST: usize = 2;
const WAITING: usize = 5;
const UNDER_WAY: usize = 10;

async fn server() -> Server {
    let admission = AdmissionSettings {
        least: LEAST,
        most: LEAST,
        waiting: WAITING,
        contended_for: Duration::from_secs(3600),
        longest_wait: Duration::from_secs(3600),
        ..AdmissionSettings::default()
    };
    Server::on(MemoryStore::new(), FrontendSettings { admission, ..FrontendSettings::default() }).await
}

fn start(namespace: &str, workflow_id: &str) -> wire::StartWorkflowExecutionRequest {
    wire::StartWorkflowExecutionRequest {
        namespace: namespace.to_owned(),
        workflow_id: workflow_id.to_owned(),
        workflow_type: Some(WorkflowType { name: "order".to_owned() }),
        task_queue: Some(TaskQueue { name: "orders".to_owned(), ..TaskQueue::default() }),
        request_id: workflow_id.to_owned(),
        ..Default::default()
    }
}

fn describe(namespace: &str) -> wire::DescribeWorkflowExecutionRequest {
    let execution = WorkflowExecution { workflow_id: "order-1".to_owned(), ..Default::default() };
    wire::DescribeWorkflowExecutionRequest { namespace: namespace.to_owned(), execution: Some(execution) }
}

/// Starts that history does not answer until it is let go.
fn flood(client: &Client, count: usize) -> JoinSet<Result<(), tonic::Status>> {
    let mut calls = JoinSet::new();
    for number in 0..count {
        let mut client = client.clone();
        let request = start("default", &format!("held-{number}"));
        calls.spawn(async move { client.start_workflow_execution(request).await.map(drop) });
    }
    calls
}

fn reached_history(server: &Server) -> usize {
    server.neighbours.seen().iter().filter(|seen| seen.method == "start_workflow").count()
}

#[tokio::test]
async fn a_flood_of_one_namespace_waits_in_line_while_another_is_served_at_once() {
    let server = server().await;
    let (loud, mut quiet) = (server.client().await, server.client().await);
    let mut under_way = flood(&loud, UNDER_WAY);
    while reached_history(&server) < UNDER_WAY {
        tokio::task::yield_now().await;
    }
    // From now on two namespaces ask for something.
    quiet.describe_workflow_execution(describe("other")).await.unwrap();
    let mut line = flood(&loud, WAITING + 3);
    for _ in 0..3 {
        let refused = line.join_next().await.unwrap().unwrap().unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let text = refused.message();
        assert!(text.starts_with("5 requests to namespace \"default\" wait for their turn, the first for "), "{text}");
    }
    // The line is full, and the other namespace does not stand in it.
    for _ in 0..20 {
        quiet.describe_workflow_execution(describe("other")).await.unwrap();
    }
    assert_eq!(reached_history(&server), UNDER_WAY, "not one of the flood has passed meanwhile");
    server.neighbours.let_go();
    for _ in 0..UNDER_WAY {
        under_way.join_next().await.unwrap().unwrap().unwrap();
    }
    for _ in 0..WAITING {
        line.join_next().await.unwrap().unwrap().unwrap();
    }
    assert_eq!(reached_history(&server), UNDER_WAY + WAITING, "those in line were served, those refused were not");
}

#[tokio::test]
async fn a_namespace_alone_is_never_in_line() {
    let server = server().await;
    let client = server.client().await;
    let mut calls = flood(&client, 100);
    while reached_history(&server) < 100 {
        tokio::task::yield_now().await;
    }
    server.neighbours.let_go();
    while let Some(answer) = calls.join_next().await {
        answer.unwrap().unwrap();
    }
}

#[tokio::test]
async fn calls_that_wait_for_something_to_happen_hold_no_turn() {
    let server = server().await;
    let client = server.client().await;
    let mut polls = JoinSet::new();
    for _ in 0..UNDER_WAY {
        let mut client = client.clone();
        let task_queue = Some(TaskQueue { name: "waits".to_owned(), ..TaskQueue::default() });
        let poll =
            wire::PollWorkflowTaskQueueRequest { namespace: "default".to_owned(), task_queue, ..Default::default() };
        polls.spawn(async move { client.poll_workflow_task_queue(poll).await.map(drop) });
    }
    while server.neighbours.seen().len() < UNDER_WAY {
        tokio::task::yield_now().await;
    }
    let (mut quiet, mut loud) = (client.clone(), client.clone());
    quiet.describe_workflow_execution(describe("other")).await.unwrap();
    loud.describe_workflow_execution(describe("default")).await.unwrap();
}
