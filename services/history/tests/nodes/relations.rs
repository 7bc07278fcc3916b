//! Parents and children, signals and cancel requests between workflows of different nodes.

use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::command::v1::{
    Command, CompleteWorkflowExecutionCommandAttributes, RequestCancelExternalWorkflowExecutionCommandAttributes,
    SignalExternalWorkflowExecutionCommandAttributes, StartChildWorkflowExecutionCommandAttributes,
};
use api::temporal::api::common::v1::WorkflowType;
use api::temporal::api::enums::v1::{CommandType, ParentClosePolicy};
use api::temporal::api::history::v1::history_event::Attributes as Event;
use api::temporal::api::taskqueue::v1::TaskQueue;
use bytes::Bytes;
use calls::{History, SendToWorkflow, ServiceError};

use crate::world::{World, command, execution, secret};

fn child(workflow_id: &str, policy: ParentClosePolicy) -> Command {
    let attributes = StartChildWorkflowExecutionCommandAttributes {
        workflow_id: workflow_id.to_owned(),
        workflow_type: Some(WorkflowType { name: "kind".to_owned() }),
        task_queue: Some(TaskQueue { name: "work".to_owned(), ..Default::default() }),
        parent_close_policy: policy as i32,
        ..Default::default()
    };
    command(
        CommandType::StartChildWorkflowExecution,
        Attributes::StartChildWorkflowExecutionCommandAttributes(attributes),
    )
}

fn complete() -> Command {
    let attributes = CompleteWorkflowExecutionCommandAttributes { result: secret() };
    command(CommandType::CompleteWorkflowExecution, Attributes::CompleteWorkflowExecutionCommandAttributes(attributes))
}

#[tokio::test(start_paused = true)]
async fn a_child_on_another_node_is_started_and_its_result_comes_back() {
    let mut world = World::new().await;
    let (parent, childs) = (world.id_in(0, "parent"), world.id_in(1, "child"));
    world.start(&parent).await;
    world.decide(&parent, vec![child(&childs, ParentClosePolicy::Terminate)]).await;
    world.has(&parent, "CHILD_WORKFLOW_EXECUTION_STARTED").await;
    world.decide(&childs, vec![complete()]).await;
    world.has(&parent, "CHILD_WORKFLOW_EXECUTION_COMPLETED").await;
    let started = world.events(&childs).await.swap_remove(0);
    let Some(Event::WorkflowExecutionStartedEventAttributes(started)) = started.attributes else { panic!() };
    assert_eq!(started.parent_workflow_execution.unwrap().workflow_id, parent);
    let result = world.events(&parent).await.into_iter().find_map(|event| match event.attributes {
        Some(Event::ChildWorkflowExecutionCompletedEventAttributes(completed)) => completed.result,
        _ => None,
    });
    assert_eq!(result, secret());
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_id_is_taken_on_another_node_cannot_start() {
    let mut world = World::new().await;
    let (parent, taken) = (world.id_in(0, "parent"), world.id_in(1, "taken"));
    world.start(&taken).await;
    world.start(&parent).await;
    world.decide(&parent, vec![child(&taken, ParentClosePolicy::Terminate)]).await;
    world.has(&parent, "START_CHILD_WORKFLOW_EXECUTION_FAILED").await;
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn parent_close_policies_reach_children_on_another_node() {
    for (policy, expected) in [
        (ParentClosePolicy::Terminate, "WORKFLOW_EXECUTION_TERMINATED"),
        (ParentClosePolicy::RequestCancel, "WORKFLOW_EXECUTION_CANCEL_REQUESTED"),
    ] {
        let mut world = World::new().await;
        let (parent, childs) = (world.id_in(1, "parent"), world.id_in(0, "child"));
        world.start(&parent).await;
        world.decide(&parent, vec![child(&childs, policy)]).await;
        world.has(&parent, "CHILD_WORKFLOW_EXECUTION_STARTED").await;
        world.decide(&parent, vec![complete()]).await;
        world.has(&childs, expected).await;
        world.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn signals_and_cancel_requests_reach_workflows_on_another_node_once_or_are_refused_there() {
    let mut world = World::new().await;
    let (sender, target, missing) = (world.id_in(0, "sender"), world.id_in(1, "target"), world.id_in(1, "missing"));
    world.start(&target).await;
    world.start(&sender).await;
    let signal = |target: &str| {
        let attributes = SignalExternalWorkflowExecutionCommandAttributes {
            execution: execution(target),
            signal_name: "go".to_owned(),
            input: secret(),
            ..Default::default()
        };
        command(
            CommandType::SignalExternalWorkflowExecution,
            Attributes::SignalExternalWorkflowExecutionCommandAttributes(attributes),
        )
    };
    let cancel = RequestCancelExternalWorkflowExecutionCommandAttributes {
        workflow_id: target.clone(),
        reason: "enough".to_owned(),
        ..Default::default()
    };
    let cancel = command(
        CommandType::RequestCancelExternalWorkflowExecution,
        Attributes::RequestCancelExternalWorkflowExecutionCommandAttributes(cancel),
    );
    world.decide(&sender, vec![signal(&target), signal(&missing), cancel]).await;
    world.has(&sender, "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED").await;
    world.has(&sender, "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED").await;
    world.has(&sender, "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED").await;
    let seen = world.types(&target).await;
    for kind in ["WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_EXECUTION_CANCEL_REQUESTED"] {
        assert_eq!(seen.iter().filter(|word| *word == kind).count(), 1, "{seen:?}");
    }
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_to_a_workflow_without_an_owner_waits_for_one() {
    let mut world = World::new().await;
    let (parent, childs) = (world.id_in(0, "parent"), world.id_in(1, "child"));
    world.start(&parent).await;
    world.turn(["a", "elsewhere"]);
    world.decide(&parent, vec![child(&childs, ParentClosePolicy::Terminate)]).await;
    world.runtime.sleep(std::time::Duration::from_secs(20)).await;
    assert!(!world.types(&parent).await.iter().any(|word| word == "CHILD_WORKFLOW_EXECUTION_STARTED"));
    world.turn(["a", "b"]);
    world.has(&parent, "CHILD_WORKFLOW_EXECUTION_STARTED").await;
    let starts = world.types(&childs).await;
    assert_eq!(starts.iter().filter(|word| *word == "WORKFLOW_EXECUTION_STARTED").count(), 1);
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_is_refused_and_one_to_a_foreign_shard_is_sent_on() {
    let world = World::new().await;
    let (here, elsewhere) = (world.id_in(0, "here"), world.id_in(1, "elsewhere"));
    let message = |workflow_id: &str, message| SendToWorkflow { workflow_id: workflow_id.into(), message };
    let reply = world.a.send_to_workflow(&world.ctx, message(&here, Bytes::from_static(b"\xff"))).await;
    assert!(matches!(reply, Err(ServiceError::InvalidArgument(_))), "{reply:?}");
    // Field 3 is a signal, and an empty one.
    let signal = Bytes::from_static(&[0x08, 0x02, 0x1a, 0x00]);
    let reply = world.a.send_to_workflow(&world.ctx, message(&elsewhere, signal.clone())).await;
    assert!(matches!(reply, Err(ServiceError::NotOwner(_))), "{reply:?}");
    assert!(world.a.send_to_workflow(&world.ctx, message(&here, signal)).await.is_ok(), "an answer: not found");
    world.close().await;
}
