//! A wall clock that is set while the process runs: timeouts go by the process's own time, which it does not touch; timers are
//! never early by the wall clock.

use std::time::Duration;

use api::temporal::api::common::v1::RetryPolicy;
use api::temporal::api::enums::v1::EventType;
use ids::Timestamp;
use runtime::{Runtime, WallDial};
use storage::memory::MemoryStore;

use super::commands;
use super::rig::{Rig, assert_whole, normal, seconds, start_request, time_of};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);
/// By how much a timeout may be late.
const LATE: Duration = Duration::from_secs(2);
/// By how much a timer may be late that waits for the wall clock.
const HELD_LATE: Duration = Duration::from_secs(6);
/// Half past noon.
const START: Timestamp = Timestamp::from_millis(1_700_051_400_000);

async fn rig() -> (Rig, WallDial) {
    let (runtime, wall) = Runtime::virtual_with_wall_clock(START);
    (Rig::on(MemoryStore::new().store(), runtime).await, wall)
}

fn within(waited: Duration, least: Duration, late: Duration) {
    assert!(waited >= least && waited <= least + late, "waited for {waited:?}, expected {least:?}");
}

fn jumps() -> [fn(&WallDial); 3] {
    [|wall| wall.back(HOUR), |wall| wall.back(HOUR * 24 * 365), |_| {}]
}

#[tokio::test(start_paused = true)]
async fn a_dead_workers_tasks_are_given_out_again_in_time_when_the_wall_clock_was_set_back() {
    for jump in jumps() {
        let (rig, wall) = rig().await;
        let run_id = rig.start("w", "one").await;
        let taken = rig.runtime.now();
        rig.poll().await.unwrap();
        rig.runtime.sleep(SECOND).await;
        jump(&wall);
        let task = rig.poll().await.unwrap();
        assert_eq!(task.attempt, 2);
        within(rig.runtime.now().since(taken), 10 * SECOND, LATE);

        let retry = RetryPolicy { initial_interval: seconds(1), ..Default::default() };
        rig.complete(&task, vec![commands::activity_with("a", retry)]).await;
        rig.poll_activity(60).await.unwrap();
        let taken = rig.runtime.now();
        rig.runtime.sleep(SECOND).await;
        jump(&wall);
        // After 30 seconds, and one of backoff.
        assert_eq!(rig.poll_activity(7200).await.unwrap().attempt, 2);
        within(rig.runtime.now().since(taken), 31 * SECOND, LATE);
        assert_whole(&rig.events("w", &run_id).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_waits_for_the_wall_clock_and_one_set_afterwards_does_not_wait_longer() {
    let (rig, wall) = rig().await;
    let run_id = rig.start("w", "sleep").await;
    let task = rig.poll().await.unwrap();
    rig.complete(&task, vec![commands::timer("before", 60)]).await;
    rig.runtime.sleep(30 * SECOND).await;
    wall.back(HOUR);
    let set_back_at = rig.runtime.now();
    // Meanwhile whatever else there is goes on.
    rig.runtime.sleep(60 * SECOND).await;
    rig.signal("w", "go on", "s").await.unwrap();
    let task = rig.poll().await.unwrap();
    rig.complete(&task, vec![commands::timer("after", 60)]).await;
    let task = rig.poll_on(normal(super::rig::QUEUE), 300).await.unwrap();
    within(rig.runtime.now().since(set_back_at), 120 * SECOND, LATE);
    // A worker dies while the first still waits.
    let died = rig.runtime.now();
    let _ = task;
    let task = rig.poll().await.unwrap();
    within(rig.runtime.now().since(died), 10 * SECOND, LATE);
    rig.complete(&task, vec![]).await;
    let task = rig.poll_on(normal(super::rig::QUEUE), 7200).await.unwrap();
    within(rig.runtime.now().since(set_back_at), HOUR + 30 * SECOND, HELD_LATE);
    assert!(rig.runtime.wall() >= START + 60 * SECOND, "{}", rig.runtime.wall());
    rig.complete(&task, vec![commands::complete("")]).await;
    let events = rig.events("w", &run_id).await;
    assert_whole(&events);
    let fired: Vec<_> = events.iter().filter(|event| event.event_type() == EventType::TimerFired).collect();
    assert_eq!(fired.len(), 2, "each once");
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_right_again_lets_timers_go() {
    let (rig, wall) = rig().await;
    let run_id = rig.start("w", "sleep").await;
    let task = rig.poll().await.unwrap();
    rig.complete(&task, vec![commands::timer("t", 60)]).await;
    rig.runtime.sleep(SECOND).await;
    wall.back(24 * HOUR);
    rig.runtime.sleep(600 * SECOND).await;
    assert!(rig.events("w", &run_id).await.iter().all(|event| event.event_type() != EventType::TimerFired));
    wall.forward(24 * HOUR);
    let set_right_at = rig.runtime.now();
    rig.poll().await.unwrap();
    within(rig.runtime.now().since(set_right_at), Duration::ZERO, HELD_LATE);
}

#[tokio::test(start_paused = true)]
async fn a_timer_fires_when_the_wall_clock_that_is_set_forward_says_so() {
    let (rig, wall) = rig().await;
    let run_id = rig.start("w", "sleep").await;
    let task = rig.poll().await.unwrap();
    rig.complete(&task, vec![commands::timer("t", 2 * 3600)]).await;
    rig.runtime.sleep(30 * SECOND).await;
    wall.forward(HOUR);
    rig.runtime.sleep(30 * SECOND).await;
    assert!(rig.events("w", &run_id).await.iter().all(|event| event.event_type() != EventType::TimerFired));
    wall.forward(HOUR);
    rig.poll().await.unwrap();
    within(rig.runtime.wall().since(START), 2 * HOUR + 60 * SECOND, LATE);
    let events = rig.events("w", &run_id).await;
    assert_whole(&events);
    let at = |kind| time_of(events.iter().find(|event| event.event_type() == kind).unwrap());
    assert!(at(EventType::TimerFired).since(at(EventType::TimerStarted)) >= 2 * HOUR);
}

#[tokio::test(start_paused = true)]
async fn a_start_delay_and_a_cron_schedule_go_by_the_wall_clock() {
    let (rig, wall) = rig().await;
    let delayed = api::temporal::api::workflowservice::v1::StartWorkflowExecutionRequest {
        workflow_start_delay: seconds(60),
        ..start_request("delayed", "one")
    };
    rig.start_with(delayed).await.unwrap();
    rig.runtime.sleep(SECOND).await;
    wall.back(HOUR / 2);
    rig.poll_on(normal(super::rig::QUEUE), 7200).await.unwrap();
    within(rig.runtime.wall().since(START), 60 * SECOND, HELD_LATE);

    wall.back(HOUR / 4);
    // It is a quarter past twelve by now, and the process is three quarters of an hour ahead of that.
    let hourly = api::temporal::api::workflowservice::v1::StartWorkflowExecutionRequest {
        cron_schedule: "0 * * * *".to_owned(),
        ..start_request("hourly", "one")
    };
    let queue = api::temporal::api::taskqueue::v1::TaskQueue { name: "cron".to_owned(), ..Default::default() };
    let hourly = api::temporal::api::workflowservice::v1::StartWorkflowExecutionRequest {
        task_queue: Some(queue.clone()),
        ..hourly
    };
    rig.start_with(hourly).await.unwrap();
    for hour in [HOUR / 2, HOUR * 3 / 2] {
        let task = rig.poll_on(queue.clone(), 7200).await.unwrap();
        within(rig.runtime.wall().since(START), hour, HELD_LATE);
        rig.complete(&task, vec![commands::complete("")]).await;
    }
}
