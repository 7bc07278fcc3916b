//! Children: their starts, their ends, and what becomes of them when their parent closes.

use std::time::Duration;

use api::temporal::api::enums::v1::{EventType, ParentClosePolicy, WorkflowExecutionStatus};

use super::commands;
use super::rig::{QUEUE, Rig, normal, start_request};

/// The next task of the workflow with this id.
async fn task_of(
    rig: &Rig,
    workflow_id: &str,
) -> api::temporal::api::workflowservice::v1::PollWorkflowTaskQueueResponse {
    let task = rig.poll_on(normal(QUEUE), 60).await.unwrap();
    assert_eq!(task.workflow_execution.as_ref().unwrap().workflow_id, workflow_id);
    task
}

async fn status_of(rig: &Rig, workflow_id: &str) -> WorkflowExecutionStatus {
    rig.describe(workflow_id).await.unwrap().workflow_execution_info.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn a_parent_sees_its_child_start_and_complete() {
    let rig = Rig::new().await;
    let run_id = rig.start("parent", "p").await;
    let task = task_of(&rig, "parent").await;
    rig.complete(&task, vec![commands::child("child", "c", ParentClosePolicy::Terminate)]).await;

    let first = rig.poll().await.unwrap();
    let second = rig.poll().await.unwrap();
    let (parents, childs) = if first.workflow_execution.as_ref().unwrap().workflow_id == "parent" {
        (first, second)
    } else {
        (second, first)
    };
    let info = rig.describe("child").await.unwrap().workflow_execution_info.unwrap();
    assert_eq!(info.parent_execution.unwrap().run_id, run_id);
    assert_eq!(info.root_execution.unwrap().workflow_id, "parent");
    rig.complete(&parents, vec![]).await;
    rig.complete(&childs, vec![commands::complete("from the child")]).await;

    let task = task_of(&rig, "parent").await;
    let events = task.history.as_ref().unwrap().events.clone();
    assert!(events.iter().any(|event| event.event_type() == EventType::ChildWorkflowExecutionCompleted));
    rig.complete(&task, vec![commands::complete("")]).await;
    assert_eq!(status_of(&rig, "parent").await, WorkflowExecutionStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_id_is_taken_fails_to_start() {
    let rig = Rig::new().await;
    let mut blocker = start_request("child", "other");
    blocker.task_queue = Some(normal("elsewhere"));
    rig.start_with(blocker).await.unwrap();
    rig.start("parent", "p").await;
    let task = task_of(&rig, "parent").await;
    rig.complete(&task, vec![commands::child("child", "c", ParentClosePolicy::Terminate)]).await;
    let events = task_of(&rig, "parent").await.history.unwrap().events;
    assert!(events.iter().any(|event| event.event_type() == EventType::StartChildWorkflowExecutionFailed));
}

#[tokio::test(start_paused = true)]
async fn the_parent_close_policy_is_carried_out_even_by_the_next_owner() {
    for policy in [ParentClosePolicy::Terminate, ParentClosePolicy::RequestCancel, ParentClosePolicy::Abandon] {
        let rig = Rig::new().await;
        rig.start("parent", "p").await;
        let task = task_of(&rig, "parent").await;
        rig.complete(&task, vec![commands::child("child", "c", policy)]).await;
        let mut tasks = [rig.poll().await.unwrap(), rig.poll().await.unwrap()];
        tasks.sort_by_key(|task| task.workflow_execution.as_ref().unwrap().workflow_id.clone());
        let [childs, parents] = tasks;
        rig.complete(&childs, vec![]).await;
        rig.complete(&parents, vec![commands::complete("")]).await;
        let rig = rig.crash().await;
        rig.runtime.sleep(Duration::from_secs(5)).await;
        let status = status_of(&rig, "child").await;
        let cancel_requested = rig.describe("child").await.unwrap().workflow_extended_info.unwrap().cancel_requested;
        match policy {
            ParentClosePolicy::Terminate => assert_eq!(status, WorkflowExecutionStatus::Terminated),
            ParentClosePolicy::RequestCancel => {
                assert_eq!((status, cancel_requested), (WorkflowExecutionStatus::Running, true));
            }
            _ => assert_eq!((status, cancel_requested), (WorkflowExecutionStatus::Running, false)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_continues_as_new_is_one_child_to_its_parent() {
    let rig = Rig::new().await;
    rig.start("parent", "p").await;
    let task = task_of(&rig, "parent").await;
    rig.complete(&task, vec![commands::child("child", "c", ParentClosePolicy::Terminate)]).await;
    let mut rounds = 0;
    loop {
        let task = rig.poll().await.unwrap();
        let events = &task.history.as_ref().unwrap().events;
        if task.workflow_execution.as_ref().unwrap().workflow_id == "child" {
            rounds += 1;
            let command = if rounds < 4 { commands::continue_as_new("c") } else { commands::complete("") };
            rig.complete(&task, vec![command]).await;
        } else if events.iter().any(|event| event.event_type() == EventType::ChildWorkflowExecutionCompleted) {
            assert_eq!(rounds, 4);
            return;
        } else {
            rig.complete(&task, vec![]).await;
        }
    }
}
