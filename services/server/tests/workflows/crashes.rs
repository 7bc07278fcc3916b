//! Crashes at every step: what was acknowledged stays, and what was owed is carried out by the next owner.

use std::time::Duration;

use api::temporal::api::enums::v1::EventType;

use super::commands;
use super::rig::{Rig, assert_whole, count, types};

#[tokio::test(start_paused = true)]
async fn a_workflow_goes_on_after_a_crash_at_every_step() {
    let mut rig = Rig::new().await;
    let run_id = rig.start("w", "one").await;
    rig = rig.crash().await;
    let task = rig.poll().await.unwrap();
    rig = rig.crash().await;
    rig.complete(&task, vec![commands::activity("a")]).await;
    rig = rig.crash().await;
    let work = rig.poll_activity(60).await.unwrap();
    rig = rig.crash().await;
    rig.complete_activity(&work, "done").await.unwrap();
    rig = rig.crash().await;
    let task = rig.poll().await.unwrap();
    rig = rig.crash().await;
    rig.complete(&task, vec![commands::complete("ok")]).await;
    rig = rig.crash().await;
    let events = rig.events("w", &run_id).await;
    assert_whole(&events);
    assert_eq!(events.len(), 11, "{:?}", types(&events));
    assert_eq!(count(&events, EventType::WorkflowTaskTimedOut), 0);
}

#[tokio::test(start_paused = true)]
async fn closed_runs_and_their_chain_are_found_after_crashes_and_checkpoints() {
    let mut rig = Rig::new().await;
    let mut runs = vec![rig.start("w", "chain").await];
    for round in 0..6 {
        let task = rig.poll().await.unwrap();
        rig.complete(&task, vec![commands::continue_as_new("chain")]).await;
        let info = rig.describe("w").await.unwrap().workflow_execution_info.unwrap();
        assert_eq!(info.first_run_id, runs[0]);
        runs.push(info.execution.unwrap().run_id);
        if round % 2 == 0 {
            // Long enough for a checkpoint of what came before.
            rig.runtime.sleep(Duration::from_secs(30)).await;
        }
        rig = if round % 3 == 0 { rig.restart().await } else { rig.crash().await };
        for run_id in &runs[..runs.len() - 1] {
            let events = rig.events("w", run_id).await;
            assert_whole(&events);
            assert_eq!(events.last().unwrap().event_type(), EventType::WorkflowExecutionContinuedAsNew);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_sent_again_after_a_crash_finds_the_run_that_it_started() {
    let rig = Rig::new().await;
    let run_id = rig.start("w", "one").await;
    rig.complete(&rig.poll().await.unwrap(), vec![commands::complete("")]).await;
    let rig = rig.crash().await;
    assert_eq!(rig.start("w", "one").await, run_id);
    let rig = rig.restart().await;
    assert_eq!(rig.start("w", "one").await, run_id);
}
