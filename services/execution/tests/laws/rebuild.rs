//! A history alone rebuilds the run, less what is no event.
//!
//! Left out of the comparison, since no event records it: where a workflow task was dispatched (stamp, sticky, persisted, put
//! off) and everything about a transient one; attempts, heartbeats and failures of activities; how many tasks failed in a
//! row; the sticky queue; request ids of the start and of the cancellation; transitions; what a closed run still owes.

use std::sync::Arc;

use execution::{Batch, Change, Fact, Run, RunChange, RunCore, Step, TaskKind, Workflow, WorkflowTask, WrittenStage};

use crate::reset;

/// Checks a run; `all` has every run, with all of its history that is its own. Nothing can be said while events wait for a worker: they have taken
/// effect without being in the history.
pub fn from_events_alone(all: &Workflow, run: &Run) -> Result<(), String> {
    if !run.buffered.is_empty() {
        return Ok(());
    }
    let mut workflow = Workflow::default();
    let shared = reset::shared_history(all, run);
    let shared = (!shared.is_empty()).then(|| Arc::new(Batch::new(shared)));
    for batch in shared.iter().chain(run.batches.values()) {
        let steps = (0..batch.count).map(|_| Step::Event).collect();
        let run_id = run.core.run_id.clone();
        workflow.apply(&Change::Run(RunChange { run_id, steps, batch: Some(batch.clone()) }))?;
    }
    if run.core.reset_at != 0 {
        // The history says no more of it than that there was one.
        let steps = vec![Step::Fact(Fact::ResetAt(run.core.reset_at))];
        workflow.apply(&Change::Run(RunChange { run_id: run.core.run_id.clone(), steps, batch: None }))?;
    }
    let rebuilt = known_from_events(&workflow.runs[&run.core.run_id]);
    let live = known_from_events(run);
    if rebuilt == live { Ok(()) } else { Err(format!("rebuilt from its events: {rebuilt:?}\nlive: {live:?}")) }
}

fn known_from_events(run: &Run) -> Run {
    let run = &run.durable();
    let mut known = run.clone();
    known.batches.clear();
    let core = &run.core;
    known.task = run.task.as_ref().filter(|task| !task.is_transient()).map(|task| {
        let kind = match &task.kind {
            TaskKind::Written(WrittenStage::Sticky { .. } | WrittenStage::Backlogged) => {
                TaskKind::Written(WrittenStage::Offerable)
            }
            kind => kind.clone(),
        };
        WorkflowTask { stamp: 0, first_scheduled_at: 0, kind, ..task.clone() }
    });
    known.core = RunCore {
        task_failures: 0,
        sticky_queue: String::new(),
        sticky_timeout_nanos: 0,
        cancel_request_id: String::new(),
        start_request_id: String::new(),
        last_stamp: 0,
        owes_parent: false,
        transitions: 0,
        reset_run_id: String::new(),
        ancestors: Vec::new(),
        ..core.clone()
    };
    let scheduled = run.activities.values().map(|activity| {
        let mut activity = (**activity).clone();
        activity.first_scheduled_at = 0;
        let cancel_requested_event_id = activity.progress.cancel_requested_event_id;
        activity.progress = execution::ActivityProgress { cancel_requested_event_id, ..Default::default() };
        Arc::new(activity)
    });
    known.activities = scheduled.collect();
    // Rejecting one leaves no event.
    known.reapplied_updates = Default::default();
    if !run.is_open() {
        known.children = Default::default();
    }
    known
}
