//! Activities: from start to close, and across retries.

use std::time::Duration;

use api::temporal::api::common::v1::RetryPolicy;
use api::temporal::api::enums::v1::{EventType, PendingActivityState};

use super::commands;
use super::rig::{Rig, assert_whole, count, seconds, types};

#[tokio::test(start_paused = true)]
async fn a_workflow_with_one_activity_from_start_to_close() {
    let rig = Rig::new().await;
    let run_id = rig.start("w", "one").await;
    let task = rig.poll().await.unwrap();
    assert_eq!(
        types(&task.history.as_ref().unwrap().events),
        ["WORKFLOW_EXECUTION_STARTED", "WORKFLOW_TASK_SCHEDULED", "WORKFLOW_TASK_STARTED"]
    );
    assert_eq!((task.started_event_id, task.previous_started_event_id, task.attempt), (3, 0, 1));
    rig.complete(&task, vec![commands::activity("a")]).await;

    let work = rig.poll_activity(60).await.unwrap();
    assert_eq!((work.activity_id.as_str(), work.attempt, work.workflow_namespace.as_str()), ("a", 1, "default"));
    assert_eq!(work.start_to_close_timeout, seconds(30));
    assert!(work.scheduled_time.is_some() && work.current_attempt_scheduled_time.is_some());
    assert!(work.started_time.is_some());
    rig.complete_activity(&work, "done").await.unwrap();

    let task = rig.poll().await.unwrap();
    assert_eq!((task.previous_started_event_id, task.started_event_id), (3, 9));
    rig.complete(&task, vec![commands::complete("ok")]).await;
    let events = rig.events("w", &run_id).await;
    assert_whole(&events);
    assert_eq!(
        types(&events)[4..],
        [
            "ACTIVITY_TASK_SCHEDULED",
            "ACTIVITY_TASK_STARTED",
            "ACTIVITY_TASK_COMPLETED",
            "WORKFLOW_TASK_SCHEDULED",
            "WORKFLOW_TASK_STARTED",
            "WORKFLOW_TASK_COMPLETED",
            "WORKFLOW_EXECUTION_COMPLETED"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_three_days_comes_after_three_days() {
    let rig = Rig::new().await;
    rig.start("w", "one").await;
    let task = rig.poll().await.unwrap();
    let interval = 3 * 24 * 3600;
    let retry =
        RetryPolicy { initial_interval: seconds(interval), maximum_interval: seconds(interval), ..Default::default() };
    rig.complete(&task, vec![commands::activity_with("a", retry)]).await;
    let first = rig.poll_activity(60).await.unwrap();
    let failed_at = rig.runtime.now();
    rig.fail_activity(&first, "not today").await.unwrap();

    let described = rig.describe("w").await.unwrap();
    let pending = &described.pending_activities[0];
    assert_eq!((pending.attempt, pending.state()), (2, PendingActivityState::Scheduled));
    assert_eq!(pending.last_failure.as_ref().unwrap().message, "not today");
    assert_eq!(pending.current_retry_interval, seconds(interval));
    assert!(pending.next_attempt_schedule_time.is_some());

    // A restarted process keeps the time.
    let rig = rig.crash().await;
    let second = rig.poll_activity(4 * 24 * 3600).await.unwrap();
    let waited = rig.runtime.now().since(failed_at);
    assert!(waited >= Duration::from_secs(3 * 24 * 3600), "{waited:?}");
    assert!(waited < Duration::from_secs(3 * 24 * 3600 + 5), "{waited:?}");
    assert_eq!(second.attempt, 2);
    assert!(rig.complete_activity(&first, "late").await.is_err(), "the first attempt is over");
    rig.complete_activity(&second, "done").await.unwrap();

    let task = rig.poll().await.unwrap();
    let events = task.history.unwrap().events;
    assert_eq!(count(&events, EventType::ActivityTaskStarted), 1, "attempts leave no events");
}

#[tokio::test(start_paused = true)]
async fn an_activity_without_a_worker_waits_durably() {
    let rig = Rig::new().await;
    rig.start("w", "one").await;
    let task = rig.poll().await.unwrap();
    rig.complete(&task, vec![commands::activity("a")]).await;
    rig.runtime.sleep(Duration::from_secs(3600)).await;
    let rig = rig.crash().await;
    assert_eq!(rig.poll_activity(60).await.unwrap().activity_id, "a");
}
