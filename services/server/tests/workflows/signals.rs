//! Signals: once each, buffered while a worker decides, from outside and from other workflows.

use api::temporal::api::enums::v1::EventType;
use api::temporal::api::workflowservice::v1 as wire;
use calls::{History, ResourceExhaustedCause, ServiceError};

use super::commands;
use super::rig::{QUEUE, Rig, count, normal, start_request};

#[tokio::test(start_paused = true)]
async fn a_signal_sent_again_is_received_once_even_across_a_crash_and_a_new_run() {
    let rig = Rig::new().await;
    let first_run = rig.start("w", "s").await;
    rig.signal("w", "go", "r1").await.unwrap();
    rig.signal("w", "go", "r1").await.unwrap();
    let rig = rig.crash().await;
    rig.signal("w", "go", "r1").await.unwrap();
    rig.signal("w", "go", "r2").await.unwrap();
    assert_eq!(count(&rig.events("w", "").await, EventType::WorkflowExecutionSignaled), 2);

    let task = rig.poll().await.unwrap();
    rig.complete(&task, vec![commands::continue_as_new("s")]).await;
    rig.signal("w", "go", "r2").await.unwrap();
    let second = rig.describe("w").await.unwrap().workflow_execution_info.unwrap().execution.unwrap().run_id;
    assert_ne!(first_run, second);
    assert_eq!(count(&rig.events("w", &second).await, EventType::WorkflowExecutionSignaled), 0);
    assert_eq!(count(&rig.events("w", &first_run).await, EventType::WorkflowExecutionSignaled), 2);
}

#[tokio::test(start_paused = true)]
async fn signals_that_arrive_while_a_worker_decides_come_after_its_decisions() {
    let rig = Rig::new().await;
    rig.start("w", "s").await;
    let task = rig.poll().await.unwrap();
    rig.signal("w", "one", "").await.unwrap();
    rig.signal("w", "two", "").await.unwrap();
    assert_eq!(count(&rig.events("w", "").await, EventType::WorkflowExecutionSignaled), 0);
    let rig = rig.crash().await;
    rig.complete(&task, vec![commands::marker("m")]).await;
    let events = rig.events("w", "").await;
    let order: Vec<EventType> = events[3..].iter().map(|event| event.event_type()).collect();
    assert_eq!(
        order[..4],
        [
            EventType::WorkflowTaskCompleted,
            EventType::MarkerRecorded,
            EventType::WorkflowExecutionSignaled,
            EventType::WorkflowExecutionSignaled
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn signal_with_start_starts_once_and_signals_each_time() {
    let rig = Rig::new().await;
    let request = |request_id: &str| {
        let start = start_request("w", "s");
        wire::SignalWithStartWorkflowExecutionRequest {
            workflow_id: start.workflow_id,
            workflow_type: start.workflow_type,
            task_queue: start.task_queue,
            signal_name: "go".to_owned(),
            request_id: request_id.to_owned(),
            ..Default::default()
        }
    };
    let first = rig.history.signal_with_start(&rig.ctx, request("a")).await.unwrap();
    let again = rig.history.signal_with_start(&rig.ctx, request("a")).await.unwrap();
    let second = rig.history.signal_with_start(&rig.ctx, request("b")).await.unwrap();
    assert!(first.started && !second.started);
    assert_eq!([&again.run_id, &second.run_id], [&first.run_id, &first.run_id]);
    assert_eq!(count(&rig.events("w", "").await, EventType::WorkflowExecutionSignaled), 2);
}

#[tokio::test(start_paused = true)]
async fn a_workflow_signals_another_and_learns_how_it_went() {
    let rig = Rig::new().await;
    let mut target = start_request("target", "t");
    target.task_queue = Some(normal("elsewhere"));
    rig.start_with(target).await.unwrap();
    rig.start("w", "s").await;
    let task = rig.poll().await.unwrap();
    let commands = vec![commands::signal_external("target", "go"), commands::signal_external("missing", "go")];
    rig.complete(&task, commands).await;
    let mut task = rig.poll_on(normal(QUEUE), 60).await.unwrap();
    loop {
        let events = &task.history.as_ref().unwrap().events;
        let ends = [
            count(events, EventType::ExternalWorkflowExecutionSignaled),
            count(events, EventType::SignalExternalWorkflowExecutionFailed),
        ];
        if ends == [1, 1] {
            break;
        }
        rig.complete(&task, vec![]).await;
        task = rig.poll_on(normal(QUEUE), 60).await.unwrap();
    }
    assert_eq!(count(&rig.events("target", "").await, EventType::WorkflowExecutionSignaled), 1);
}

#[tokio::test(start_paused = true)]
async fn missing_and_closed_workflows_cannot_be_signalled() {
    let rig = Rig::new().await;
    let refused = rig.signal("missing", "go", "").await.unwrap_err();
    assert_eq!(refused, ServiceError::NotFound("workflow not found for ID: missing".to_owned()));
    rig.start("w", "s").await;
    let task = rig.poll().await.unwrap();
    rig.complete(&task, vec![commands::complete("")]).await;
    let refused = rig.signal("w", "go", "").await.unwrap_err();
    assert_eq!(refused, ServiceError::NotFound("workflow execution already completed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_workflow_that_is_signalled_all_the_time_closes_at_the_second_try() {
    let rig = Rig::new().await;
    rig.start("w", "s").await;
    let close = async |task: &wire::PollWorkflowTaskQueueResponse| {
        let commands = vec![commands::complete("")];
        rig.complete_with(task, wire::RespondWorkflowTaskCompletedRequest { commands, ..Default::default() }).await
    };
    let task = rig.poll().await.unwrap();
    rig.signal("w", "during the first try", "").await.unwrap();
    assert_eq!(close(&task).await, Err(ServiceError::InvalidArgument("UnhandledCommand".to_owned())));
    rig.signal("w", "between", "").await.unwrap();

    let task = rig.poll().await.unwrap();
    let closing = ServiceError::ResourceExhausted {
        cause: ResourceExhaustedCause::BusyWorkflow,
        message: "workflow operation can not be applied because workflow is closing".to_owned(),
        retry_after: None,
    };
    assert_eq!(rig.signal("w", "during the second try", "").await, Err(closing));
    close(&task).await.unwrap();
    assert_eq!(count(&rig.events("w", "").await, EventType::WorkflowExecutionSignaled), 2);
}

#[tokio::test(start_paused = true)]
async fn a_signal_of_another_workflow_waits_until_the_close_has_failed() {
    let rig = Rig::new().await;
    rig.start("w", "s").await;
    let task = rig.poll().await.unwrap();
    rig.signal("w", "news", "").await.unwrap();
    let commands = vec![commands::complete("")];
    let request = wire::RespondWorkflowTaskCompletedRequest { commands, ..Default::default() };
    rig.complete_with(&task, request).await.unwrap_err();
    let closing = rig.poll().await.unwrap();

    rig.start("sender", "s").await;
    rig.complete(&rig.poll().await.unwrap(), vec![commands::signal_external("w", "hello")]).await;
    rig.runtime.sleep(std::time::Duration::from_secs(5)).await;
    let sent = count(&rig.events("sender", "").await, EventType::ExternalWorkflowExecutionSignaled);
    assert_eq!(sent, 0, "neither sent nor failed");
    rig.complete(&closing, vec![commands::timer("t", 3600)]).await;
    let answers = rig.poll().await.unwrap();
    let answers = [answers, rig.poll().await.unwrap()];
    assert!(answers.iter().all(|task| !task.task_token.is_empty()), "the target has its signal, the sender knows");
    assert_eq!(count(&rig.events("w", "").await, EventType::WorkflowExecutionSignaled), 2);
    let sent = count(&rig.events("sender", "").await, EventType::ExternalWorkflowExecutionSignaled);
    assert_eq!(sent, 1);
}
