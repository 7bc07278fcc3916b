//! Everything at once, over seeds: a store that fails as it likes, processes that are killed, callers that repeat what
//! they are unsure of. In the end every workflow has completed, with every signal once.

use std::future::Future;
use std::time::Duration;

use api::temporal::api::command::v1::Command;
use api::temporal::api::enums::v1::{EventType, ParentClosePolicy};
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::history::v1::history_event::Attributes;
use calls::{ServiceError, ServiceResult};
use entities::ShardSettings;
use settings::HistorySettings;
use storage::fault::{FaultPlan, Faults, FaultyStore};
use storage::memory::MemoryStore;

use super::commands;
use super::rig::{Rig, assert_whole, count, start_request, time_of};

const WORKFLOWS: usize = 6;
const SIGNALS: usize = 3;

/// What the workflows here do: an activity, a timer, a child, and as many signals as they wait for.
fn decide(kind: &str, events: &[HistoryEvent], workflow_id: &str) -> Vec<Command> {
    let has = |kind: EventType| count(events, kind) > 0;
    if kind == "child" {
        return match (has(EventType::TimerStarted), has(EventType::TimerFired)) {
            (false, _) => vec![commands::timer("nap", 2)],
            (true, true) => vec![commands::complete("")],
            (true, false) => vec![],
        };
    }
    if !has(EventType::ActivityTaskScheduled) {
        let child = commands::child(&format!("{workflow_id}-child"), "child", ParentClosePolicy::Abandon);
        return vec![commands::activity("a"), commands::timer("t", 5), child];
    }
    let done = has(EventType::ActivityTaskCompleted)
        && has(EventType::TimerFired)
        && has(EventType::ChildWorkflowExecutionCompleted)
        && count(events, EventType::WorkflowExecutionSignaled) >= SIGNALS;
    if done { vec![commands::complete("")] } else { vec![] }
}

async fn work_on_workflows(rig: &Rig) {
    loop {
        let Some(task) = rig.poll().await else { continue };
        let events = task.history.clone().unwrap().events;
        let kind = task.workflow_type.clone().unwrap().name;
        let commands = decide(&kind, &events, &task.workflow_execution.clone().unwrap().workflow_id);
        let request = api::temporal::api::workflowservice::v1::RespondWorkflowTaskCompletedRequest {
            commands,
            ..Default::default()
        };
        // An answer that was lost leaves a task that is gone or comes again.
        let _ = retry_until_ready(rig, || rig.complete_with(&task, request.clone())).await;
    }
}

async fn work_on_activities(rig: &Rig) {
    loop {
        let Some(task) = rig.poll_activity(60).await else { continue };
        if task.attempt == 1 {
            let _ = retry_until_ready(rig, || rig.fail_activity(&task, "first")).await;
        } else {
            let _ = retry_until_ready(rig, || rig.complete_activity(&task, "done")).await;
        }
    }
}

/// Repeats what may not have happened.
async fn retry_until_ready<T, F: Future<Output = ServiceResult<T>>>(
    rig: &Rig,
    call: impl Fn() -> F,
) -> ServiceResult<T> {
    loop {
        match call().await {
            Err(ServiceError::Unavailable(_) | ServiceError::ResourceExhausted { .. }) => {
                rig.runtime.sleep(Duration::from_millis(100)).await;
            }
            settled => return settled,
        }
    }
}

async fn client(rig: &Rig, number: usize) {
    let workflow_id = format!("w{number}");
    let request = start_request(&workflow_id, "all");
    retry_until_ready(rig, || rig.start_with(request.clone())).await.unwrap();
    for signal in 0..SIGNALS {
        let request_id = format!("{workflow_id}-{signal}");
        retry_until_ready(rig, || rig.signal(&workflow_id, "go", &request_id)).await.unwrap();
        rig.runtime.sleep(Duration::from_millis(700)).await;
    }
}

async fn conversation(seed: u64, plan: FaultPlan, kills: u32) {
    let faulty = FaultyStore::wrap(MemoryStore::new().store(), plan);
    let first = Rig::new().await;
    first.kill().await;
    let shards = ShardSettings { checkpoint_age: Duration::from_secs(2), ..ShardSettings::default() };
    let open = || Rig::with(faulty.store(), first.runtime.clone(), HistorySettings::default(), shards.clone());
    let mut rig = open().await;
    for kill in 0..kills {
        let clients = futures::future::join_all((0..WORKFLOWS).map(|number| client(&rig, number)));
        let until = Duration::from_millis(300 + (seed * 977 + u64::from(kill) * 1409) % 3000);
        tokio::select! {
            () = work_on_workflows(&rig) => {}
            () = work_on_activities(&rig) => {}
            () = async { clients.await; std::future::pending().await } => {}
            () = rig.runtime.sleep(until) => {}
        }
        rig.kill().await;
        rig = open().await;
    }
    faulty.control().heal();
    if std::env::var("WORKFLOW_SEEDS_TELL").is_ok() {
        eprintln!("seed {seed}: {} faults", faulty.control().injected());
    }
    let ends = async {
        futures::future::join_all((0..WORKFLOWS).map(|number| client_again(&rig, number))).await;
    };
    tokio::select! {
        () = work_on_workflows(&rig) => {}
        () = work_on_activities(&rig) => {}
        () = ends => {}
        () = rig.runtime.sleep(Duration::from_secs(4000)) => panic!("seed {seed}: not every workflow has closed"),
    }
    for number in 0..WORKFLOWS {
        check(&rig, &format!("w{number}")).await;
    }
    rig.kill().await;
}

/// Signals what was not signalled, then waits for the end.
async fn client_again(rig: &Rig, number: usize) {
    let workflow_id = format!("w{number}");
    let request = start_request(&workflow_id, "all");
    retry_until_ready(rig, || rig.start_with(request.clone())).await.unwrap();
    for signal in 0..SIGNALS {
        let request_id = format!("{workflow_id}-{signal}");
        // A workflow that has closed has had all its signals.
        let sent = retry_until_ready(rig, || rig.signal(&workflow_id, "go", &request_id)).await;
        assert!(matches!(sent, Ok(()) | Err(ServiceError::NotFound(_))), "{sent:?}");
    }
    let event = rig.closing_event(&workflow_id).await;
    assert_eq!(event.event_type(), EventType::WorkflowExecutionCompleted);
}

async fn check(rig: &Rig, workflow_id: &str) {
    let events = rig.events(workflow_id, "").await;
    assert_whole(&events);
    assert_eq!(count(&events, EventType::WorkflowExecutionSignaled), SIGNALS, "{workflow_id}");
    assert_eq!(count(&events, EventType::ActivityTaskCompleted), 1, "{workflow_id}");
    for event in &events {
        if let Some(Attributes::TimerFiredEventAttributes(fired)) = &event.attributes {
            let started = &events[fired.started_event_id as usize - 1];
            assert!(
                time_of(event).since(time_of(started)) >= Duration::from_secs(5),
                "{workflow_id}: a timer was early"
            );
        }
    }
}

/// The seeds of a run: `WORKFLOW_SEEDS=1000` runs more of them, `=17..18` one again.
fn seeds() -> std::ops::Range<u64> {
    let wanted = std::env::var("WORKFLOW_SEEDS").unwrap_or_default();
    match wanted.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..wanted.parse().unwrap_or(12),
    }
}

#[tokio::test(start_paused = true)]
async fn every_workflow_completes_although_processes_are_killed() {
    for seed in seeds() {
        conversation(seed, FaultPlan::new(seed), 6).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_workflow_completes_although_the_store_fails_and_processes_are_killed() {
    for seed in seeds() {
        let often = Faults { fail: 0.05, fail_after_effect: 0.05, ..Faults::default() };
        conversation(seed, FaultPlan::new(seed).everywhere(often).hiding_local_epoch(), 6).await;
    }
}
