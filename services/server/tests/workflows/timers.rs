//! Timers: never early, however long, under every owner of the shard.

use std::time::Duration;

use api::temporal::api::enums::v1::EventType;

use super::commands;
use super::rig::{Rig, time_of};

const DAY: u64 = 24 * 3600;

#[tokio::test(start_paused = true)]
async fn a_timer_of_thirty_days_fires_after_thirty_days() {
    let rig = Rig::new().await;
    let run_id = rig.start("w", "sleep").await;
    let task = rig.poll().await.unwrap();
    rig.complete(&task, vec![commands::timer("t", 30 * DAY as i64)]).await;
    let task = rig.poll_on(super::rig::normal(super::rig::QUEUE), 31 * DAY).await.unwrap();
    rig.complete(&task, vec![commands::complete("")]).await;
    check_timer(&rig.events("w", &run_id).await);
}

#[tokio::test(start_paused = true)]
async fn a_timer_outlives_crashes_and_restarts() {
    let mut rig = Rig::new().await;
    let run_id = rig.start("w", "sleep").await;
    let task = rig.poll().await.unwrap();
    rig.complete(&task, vec![commands::timer("t", 30 * DAY as i64)]).await;
    for day in 0..29 {
        rig.runtime.sleep(Duration::from_secs(DAY)).await;
        rig = if day % 2 == 0 { rig.crash().await } else { rig.restart().await };
    }
    let task = rig.poll_on(super::rig::normal(super::rig::QUEUE), 2 * DAY).await.unwrap();
    rig.complete(&task, vec![commands::complete("")]).await;
    check_timer(&rig.events("w", &run_id).await);
}

fn check_timer(events: &[api::temporal::api::history::v1::HistoryEvent]) {
    let at = |kind: EventType| time_of(events.iter().find(|event| event.event_type() == kind).unwrap());
    let waited = at(EventType::TimerFired).since(at(EventType::TimerStarted));
    assert!(waited >= Duration::from_secs(30 * DAY), "{waited:?}");
    assert!(waited < Duration::from_secs(30 * DAY + 5), "{waited:?}");
}
