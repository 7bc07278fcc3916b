//! Whatever is asked and answered means the same to both sides, also when it goes through a socket.

use std::fmt::Debug;
use std::time::Duration;

use api::temporal::api::common::v1::{Priority, WorkerVersionCapabilities, WorkflowExecution, WorkflowType};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::update::v1::UpdateRef;
use api::temporal::api::workflowservice::v1 as wire;
use calls::token::{ActivityTaskToken, QueryTaskToken, WorkflowTaskToken};
use calls::{
    ActivityRef, ActivityReport, DumpWorkflow, GetHistory, History, Matching, OfferedQuery, OfferedTask, Opened,
    QueueName, RecordStart, Relayed, ResourceExhaustedCause, SendToWorkflow, Service, ServiceError, TaskQueueKind,
    TaskStart, UnwrittenEvents,
};
use ids::{TaskKey, TaskRef, Timestamp};

use crate::cluster_of_fakes::{Cluster, ctx, node, steady};
use crate::fake::{Fake, Step};
use crate::services::{payloads, workflow_task};

fn execution() -> Option<WorkflowExecution> {
    Some(WorkflowExecution { workflow_id: "order 7".to_owned(), run_id: "r".to_owned() })
}

fn task_queue() -> Option<TaskQueue> {
    Some(TaskQueue { name: "orders".to_owned(), kind: 1, normal_name: String::new() })
}

fn task(kind: TaskQueueKind, attempt: i32) -> OfferedTask {
    OfferedTask {
        queue: QueueName { namespace: "n".into(), name: "orders".to_owned(), kind },
        key: TaskKey {
            workflow_id: "order 7".into(),
            run_id: "r".into(),
            task: TaskRef { scheduled_event_id: 5, attempt, stamp: 1 << 33 },
        },
        normal_name: if kind == TaskQueueKind::StickyWorkflow { "normal".to_owned() } else { String::new() },
        priority: (attempt == 1).then(|| Priority { priority_key: 2, ..Default::default() }),
        scheduled_at: Timestamp::from_nanos(1_700_000_000_123_456_789),
        expires_at: (attempt == 1).then(|| Timestamp::from_nanos(1_800_000_000_123_456_789)),
    }
}

fn start() -> TaskStart {
    TaskStart {
        identity: "a worker".to_owned(),
        polled_queue: "orders".to_owned(),
        worker_version: Some(WorkerVersionCapabilities { build_id: "b".to_owned(), ..Default::default() }),
        worker_instance_key: "key".to_owned(),
    }
}

fn query(query_type: &str) -> OfferedQuery {
    OfferedQuery {
        queue: task(TaskQueueKind::StickyWorkflow, 1).queue,
        workflow_id: "order 7".into(),
        run_id: "r".into(),
        query: WorkflowQuery { query_type: query_type.to_owned(), query_args: Some(payloads()), header: None },
        response: Relayed::new(workflow_task()),
    }
}

/// Asks each method of history, and returns what it answered.
#[allow(clippy::needless_update, reason = "some requests have no further fields")]
async fn every_history_method(history: &dyn History, deadline: Timestamp) -> Vec<String> {
    let ctx = &ctx().until(deadline).under("one for all attempts");
    let workflow_id = || "order 7".to_owned();
    let request_id = || "one for all attempts".to_owned();
    let workflow_token = || WorkflowTaskToken {
        namespace_id: "n".to_owned(),
        workflow_id: workflow_id(),
        run_id: "r".to_owned(),
        scheduled_event_id: 2,
        started_event_id: 3,
        attempt: 4,
        stamp: 5,
    };
    let by_token = || {
        let (namespace_id, workflow_id, run_id) = ("n".to_owned(), workflow_id(), "r".to_owned());
        let activity_id = "a".to_owned();
        ActivityRef::Token(ActivityTaskToken {
            namespace_id,
            workflow_id,
            run_id,
            scheduled_event_id: 2,
            attempt: 3,
            activity_id,
        })
    };
    let by_id = || ActivityRef::Id { workflow_id: workflow_id(), run_id: String::new(), activity_id: "a".to_owned() };
    let failure = || Some(Failure { message: "no".to_owned(), cause: Some(Box::default()), ..Default::default() });
    let mut answers: Vec<Box<dyn Debug>> = Vec::new();
    macro_rules! ask {
        ($method:ident($request:expr)) => { answers.push(Box::new(history.$method(ctx, $request).await)) };
        ($method:ident, $request:ident { $($field:ident: $value:expr),* }) => {
            let request = wire::$request { $($field: $value,)* namespace: "orders".to_owned(), ..Default::default() };
            answers.push(Box::new(history.$method(ctx, request).await));
        };
        ($method:ident $around:ident[$name:ident: $further:expr], $request:ident { $($field:ident: $value:expr),* }) => {
            let request = wire::$request { $($field: $value,)* ..Default::default() };
            answers.push(Box::new(history.$method(ctx, $around { $name: $further, request }).await));
        };
    }
    ask!(
        start_workflow,
        StartWorkflowExecutionRequest {
            workflow_id: workflow_id(),
            request_id: request_id(),
            workflow_type: Some(WorkflowType { name: "Order".to_owned() }),
            task_queue: task_queue(),
            input: Some(payloads())
        }
    );
    ask!(
        signal_with_start,
        SignalWithStartWorkflowExecutionRequest {
            workflow_id: workflow_id(),
            request_id: request_id(),
            signal_input: Some(payloads())
        }
    );
    ask!(
        signal_workflow,
        SignalWorkflowExecutionRequest {
            workflow_execution: execution(),
            request_id: request_id(),
            input: Some(payloads())
        }
    );
    ask!(
        request_cancel,
        RequestCancelWorkflowExecutionRequest { workflow_execution: execution(), request_id: request_id() }
    );
    ask!(update_workflow, UpdateWorkflowExecutionRequest { first_execution_run_id: "r".to_owned() });
    ask!(
        poll_update,
        PollWorkflowExecutionUpdateRequest {
            update_ref: Some(UpdateRef { update_id: "u".to_owned(), ..Default::default() })
        }
    );
    ask!(execute_multi_operation, ExecuteMultiOperationRequest { operations: vec![Default::default(); 2] });
    ask!(terminate_workflow, TerminateWorkflowExecutionRequest { workflow_execution: execution() });
    ask!(reset_workflow, ResetWorkflowExecutionRequest { workflow_execution: execution(), request_id: request_id() });
    ask!(describe_workflow, DescribeWorkflowExecutionRequest { execution: execution() });
    for unwritten in [UnwrittenEvents::Shown, UnwrittenEvents::Hidden] {
        ask!(
            get_history GetHistory[unwritten: unwritten],
            GetWorkflowExecutionHistoryRequest { execution: execution(), wait_new_event: true }
        );
    }
    ask!(get_history_reverse, GetWorkflowExecutionHistoryReverseRequest { execution: execution() });
    ask!(query_workflow, QueryWorkflowRequest { execution: execution(), query_reject_condition: 1 });
    ask!(reset_sticky_task_queue, ResetStickyTaskQueueRequest { execution: execution() });
    ask!(
        complete_workflow_task Opened[token: workflow_token()],
        RespondWorkflowTaskCompletedRequest { commands: vec![Default::default(); 3] }
    );
    ask!(fail_workflow_task Opened[token: workflow_token()], RespondWorkflowTaskFailedRequest { failure: failure() });
    for activity in [&by_token as &(dyn Fn() -> ActivityRef + Sync), &by_id] {
        ask!(heartbeat_activity ActivityReport[activity: activity()], RecordActivityTaskHeartbeatRequest { details: Some(payloads()) });
        ask!(complete_activity ActivityReport[activity: activity()], RespondActivityTaskCompletedRequest { result: Some(payloads()) });
        ask!(fail_activity ActivityReport[activity: activity()], RespondActivityTaskFailedRequest { failure: failure() });
        ask!(cancel_activity ActivityReport[activity: activity()], RespondActivityTaskCanceledRequest { details: Some(payloads()) });
    }
    for attempt in [1, 2] {
        ask!(record_workflow_task_started(RecordStart {
            task: task(TaskQueueKind::Workflow, attempt),
            start: start()
        }));
        ask!(record_activity_task_started(RecordStart {
            task: task(TaskQueueKind::Activity, attempt),
            start: start()
        }));
    }
    ask!(send_to_workflow(SendToWorkflow { workflow_id: "order 7".into(), message: "a message".into() }));
    ask!(send_to_workflow(SendToWorkflow { workflow_id: "order 7".into(), message: "".into() }));
    ask!(dump_workflow(DumpWorkflow { workflow_id: "order 7".into() }));
    answers.iter().map(|answer| format!("{answer:?}")).collect()
}

/// Every call of the tables has been made.
fn assert_complete(asked: &[String]) {
    let history = <dyn History>::CALLS.iter().map(|row| row.name);
    for name in history.chain(<dyn Matching>::CALLS.iter().map(|row| row.name)) {
        let method = name.rsplit('/').next().unwrap();
        let is_asked = asked.iter().any(|asked| asked.starts_with(&format!("{method} ")));
        assert!(is_asked, "{name} is not among the calls of this test");
    }
}

/// Asks each method of matching, and returns what it answered.
async fn every_matching_method(matching: &dyn Matching, deadline: Timestamp) -> Vec<String> {
    let ctx = &ctx().until(deadline).under("one for all attempts");
    let mut answers: Vec<Box<dyn Debug>> = Vec::new();
    let kinds = [TaskQueueKind::Workflow, TaskQueueKind::StickyWorkflow, TaskQueueKind::Activity, TaskQueueKind::Nexus];
    for kind in kinds {
        for attempt in [1, 2] {
            answers.push(Box::new(matching.offer(ctx, task(kind, attempt)).await));
        }
    }
    for query_type in ["answered", "refused", "rejected"] {
        answers.push(Box::new(matching.query(ctx, query(query_type)).await));
    }
    let poll = wire::PollWorkflowTaskQueueRequest { task_queue: task_queue(), ..Default::default() };
    answers.push(Box::new(matching.poll_workflow_task_queue(ctx, poll).await));
    let poll = wire::PollActivityTaskQueueRequest { task_queue: task_queue(), ..Default::default() };
    answers.push(Box::new(matching.poll_activity_task_queue(ctx, poll).await));
    let poll = wire::PollNexusTaskQueueRequest { task_queue: task_queue(), ..Default::default() };
    answers.push(Box::new(matching.poll_nexus_task_queue(ctx, poll).await));
    let token =
        QueryTaskToken { namespace_id: "n".to_owned(), task_queue: "orders".to_owned(), query_id: "q".to_owned() };
    let request = wire::RespondQueryTaskCompletedRequest { query_result: Some(payloads()), ..Default::default() };
    answers.push(Box::new(matching.respond_query_task_completed(ctx, Opened { token, request }).await));
    let describe = wire::DescribeTaskQueueRequest { task_queue: task_queue(), ..Default::default() };
    answers.push(Box::new(matching.describe_task_queue(ctx, describe).await));
    let shutdown = wire::ShutdownWorkerRequest { worker_instance_key: "key".to_owned(), ..Default::default() };
    answers.push(Box::new(matching.shutdown_worker(ctx, shutdown).await));
    answers.iter().map(|answer| format!("{answer:?}")).collect()
}

#[tokio::test]
async fn arguments_and_answers_of_every_method_survive_the_trip() {
    let cluster = Cluster::new(steady());
    let process = cluster.process("there").await;
    let direct = Fake::new();
    let deadline = cluster.runtime.now() + Duration::from_secs(60);

    cluster.publish(&[node("there", 1, &process.address)], Some("there"));
    let remote = every_history_method(&*cluster.history, deadline).await;
    assert_eq!(remote, every_history_method(&*direct, deadline).await);
    assert!(remote.iter().all(|answer| answer.starts_with("Ok")), "{remote:#?}");
    let remote = every_matching_method(&*cluster.matching, deadline).await;
    assert_eq!(remote, every_matching_method(&*direct, deadline).await);
    assert!(remote.iter().all(|answer| answer.starts_with("Ok")), "{remote:#?}");

    assert_eq!(process.fake.asked(), direct.asked());
    assert_complete(&direct.asked());
    assert_eq!(direct.calls(), 14 + 3 + 8 + 4 + 3 + 8 + 3 + 3 + 3);
    assert!(cluster.local.asked().is_empty());
}

#[tokio::test]
async fn what_this_node_owns_is_asked_here() {
    let cluster = Cluster::new(steady());
    let direct = Fake::new();
    let deadline = cluster.runtime.now() + Duration::from_secs(60);
    cluster.publish(&[node("here", 1, "127.0.0.1:1")], Some("here"));
    assert_eq!(every_history_method(&*cluster.history, deadline).await, every_history_method(&*direct, deadline).await);
    assert_eq!(
        every_matching_method(&*cluster.matching, deadline).await,
        every_matching_method(&*direct, deadline).await
    );
    assert_eq!(cluster.local.asked(), direct.asked());
}

#[tokio::test]
async fn a_refusal_arrives_as_it_was_said_and_is_not_tried_again() {
    let cluster = Cluster::new(steady());
    let process = cluster.process("there").await;
    cluster.publish(&[node("there", 1, &process.address)], Some("there"));
    // A worker's failure of a megabyte is no reason to lose the error.
    let failure = Failure { message: "x".repeat(1 << 20), ..Default::default() };
    let said = || "said".to_owned();
    let refusals = [
        ServiceError::InvalidArgument(said()),
        ServiceError::NotFound(said()),
        ServiceError::NamespaceNotFound(said()),
        ServiceError::NamespaceAlreadyExists(said()),
        ServiceError::WorkflowAlreadyStarted {
            message: said(),
            start_request_id: "s".to_owned(),
            run_id: "r".to_owned(),
            first_execution_run_id: "f".to_owned(),
        },
        ServiceError::CancellationAlreadyRequested(said()),
        ServiceError::QueryFailed { message: said(), failure: Some(Box::new(failure)) },
        ServiceError::WorkflowNotReady(said()),
        ServiceError::FailedPrecondition(said()),
        ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::BusyWorkflow,
            message: said(),
            retry_after: Some(Duration::from_millis(1500)),
        },
        ServiceError::PermissionDenied(said()),
        ServiceError::DeadlineExceeded(said()),
        ServiceError::DataLoss(said()),
        ServiceError::Unimplemented(said()),
        ServiceError::Internal(said()),
    ];
    for (number, refusal) in refusals.into_iter().enumerate() {
        process.fake.arrange([Step::Refuse(refusal.clone())]);
        let answer = cluster.history.describe_workflow(&ctx(), Default::default()).await;
        assert_eq!(answer, Err(refusal));
        assert_eq!(process.fake.calls(), number + 1);
    }
}
