//! A workflow ID as this node has it, for operators: the state, what the tables do not show yet, and how its shard stands.
//!
//! No payload's bytes are shown, only how many there are.

mod changes;

use std::collections::BTreeMap;

use api::temporal::api::common::v1::Payload;
use calls::ServiceResult;
use entities::{EntityKey, EntityView, Resident, SlotView};
use execution::{Activity, Child, Read, Run, RunRef, WorkflowTask};
use ids::Timestamp;
use serde_json::{Value, json};

use self::changes::show_change;
use crate::HistoryService;
use crate::errors::refused;
use crate::kind::{WorkflowKind, WorkflowPart};

/// JSON, with indentation. Brings the workflow to memory if it is not there; that is also what says that there is none.
pub(crate) async fn dump(service: &HistoryService, key: &EntityKey) -> ServiceResult<String> {
    let mut value = look(service, key).await?;
    if value["in_memory"] == false && value["quarantined"].is_null() {
        service.call(key, RunRef::Current, Read).await?;
        value = look(service, key).await?;
    }
    value["kind"] = json!(key.kind.name());
    value["namespace_id"] = json!(key.namespace.as_str());
    value["workflow_id"] = json!(&*key.id);
    value["shard"] = json!(service.shard_of(key));
    Ok(format!("{value:#}"))
}

async fn look(service: &HistoryService, key: &EntityKey) -> ServiceResult<Value> {
    service.workflows.inspect(key, |view| show(&view)).await.map_err(refused)
}

fn show(view: &EntityView<'_>) -> Value {
    let mut value = json!({
        "log": view.log,
        "epoch": view.epoch.0,
        "last_position": view.last.0,
        "quarantined": view.quarantined.as_deref(),
        "in_memory": view.slot.is_some(),
    });
    let Some(slot) = &view.slot else { return value };
    value["standing"] = show_slot(slot);
    value["unstored_changes"] = slot.unstored.iter().map(|(seq, bytes)| show_change(*seq, bytes)).collect();
    match slot.resident::<WorkflowKind>() {
        Some(workflow) => {
            value["chain"] = show_chain(workflow);
            let runs = workflow.state().runs.iter();
            value["runs"] = Value::Object(runs.map(|(id, run)| (id.to_owned(), show_run(workflow, run))).collect());
        }
        None => value["loading"] = json!(true),
    }
    value
}

fn show_slot(slot: &SlotView<'_>) -> Value {
    let owed = slot
        .owed
        .iter()
        .map(|(id, standing, attempts)| json!({"id": id.to_string(), "is": standing, "in_vain": attempts}));
    json!({
        "last_change": slot.last_change.0,
        "dirty_since": slot.dirty_since.map(|seq| seq.0),
        "being_written": slot.being_written.map(|seq| seq.0),
        "next_wake_up": slot.next_wake_up.map(time),
        "wake_up_scheduled": slot.scheduled.map(time),
        "obligations": owed.collect::<Value>(),
        "requests_waiting": slot.waiting,
        "memory_bytes": slot.weight,
    })
}

fn show_chain(workflow: &Resident<WorkflowKind>) -> Value {
    let chain = &workflow.state().chain;
    let standing = workflow.standing(&WorkflowPart::Chain);
    json!({
        "current_run_id": chain.current_run_id,
        "current_status": chain.current_status,
        "first_run_id": chain.first_run_id,
        "start_request_id": chain.start_request_id,
        "requests_remembered": chain.requests.len(),
        "live_runs": chain.live_runs,
        "dirty": standing.is_some_and(|standing| standing.dirty),
        "being_written": standing.is_some_and(|standing| standing.unacknowledged),
    })
}

fn show_run(workflow: &Resident<WorkflowKind>, run: &Run) -> Value {
    let core = &run.core;
    let standing = workflow.standing(&WorkflowPart::Run(core.run_id.clone()));
    let is_unsafe = |first: i64| workflow.standing(&WorkflowPart::Batch(core.run_id.clone(), first)).is_some();
    let unsafe_batches = run.batches.values().filter(|batch| is_unsafe(batch.first_event_id)).count();
    let status = run.status().as_str_name();
    let mut value = json!({
        "status": status,
        "type": run.type_name(),
        "task_queue": run.task_queue_name(),
        "next_event_id": core.next_event_id,
        "first_event_in_memory": run.first_event_in_memory(),
        "history_bytes": core.history_bytes,
        "state_bytes": run.state_bytes(),
        "transitions": core.transitions,
        "started_at": nanos(core.started_at),
        "last_event_at": nanos(core.last_event_at),
        "first_task_at": nanos(core.first_task_at),
        "sticky_queue": core.sticky_queue,
        "cancel_requested": core.cancel_requested,
        "signals_received": core.signal_count,
        "owes_parent": core.owes_parent,
        "next_run_id": core.next_run_id,
        "workflow_task": run.task.as_ref().map(show_task),
        "dirty": standing.is_some_and(|standing| standing.dirty),
        "being_written": standing.is_some_and(|standing| standing.unacknowledged),
        "batches_to_be_written": unsafe_batches,
    });
    value["activities"] = run.activities.values().map(|activity| show_activity(activity)).collect();
    let timers = run.timers.values();
    value["timers"] = timers.map(|timer| json!({"id": timer.timer_id, "fires_at": nanos(timer.fires_at)})).collect();
    value["children"] = run.children.values().map(|child| show_child(child)).collect();
    value["signals_to_others"] = run.signals.keys().copied().collect();
    value["cancels_of_others"] = run.cancels.keys().copied().collect();
    let attached = run.attached.values();
    value["attached_requests"] =
        attached.map(|attached| json!({"id": attached.request_id, "event_id": attached.event_id})).collect();
    value["was_reset_to"] = json!(core.reset_run_id);
    value["reset_at"] = json!(nanos(core.reset_at));
    let ancestors = core.ancestors.iter();
    value["shares_events"] = ancestors.map(|of| json!({"of": of.run_id, "before": of.end_event_id})).collect();
    value["reapplied_updates"] = run.reapplied_updates.keys().map(str::to_owned).collect();
    value["buffered_events"] = run.buffered.iter().map(|event| event.event_type().as_str_name()).collect();
    value["memo_bytes"] = sizes(&run.memo);
    value["search_attribute_bytes"] = sizes(&run.search_attributes);
    value
}

fn show_task(task: &WorkflowTask) -> Value {
    json!({
        "keeps_signals_out": task.keeps_signals_out,
        "scheduled_event_id": task.scheduled_event_id,
        "started_event_id": task.started_event_id(),
        "attempt": task.attempt,
        "stamp": task.stamp,
        "scheduled_at": nanos(task.scheduled_at),
        "started_at": task.start().and_then(|start| nanos(start.at)),
        "not_before": task.backoff_until().map(time),
        "sticky": task.sticky_until().is_some(),
        "persisted_by_matching": task.is_backlogged(),
        "identity": task.start().map(|start| &start.identity),
    })
}

fn show_activity(activity: &Activity) -> Value {
    let progress = &activity.progress;
    let state = format!("{:?}", execution::activity_state(activity));
    json!({
        "id": activity.id(),
        "scheduled_event_id": activity.scheduled_event_id,
        "task_queue": activity.task_queue_name(),
        "state": state,
        "attempt": progress.attempt,
        "scheduled_at": nanos(progress.scheduled_at),
        "started_at": nanos(progress.started_at),
        "heartbeat_at": nanos(progress.heartbeat_at),
        "cancel_requested": activity.cancel_requested(),
        "persisted_by_matching": progress.persisted,
        "has_failed_before": progress.last_failure.is_some(),
    })
}

fn show_child(child: &Child) -> Value {
    json!({
        "initiated_event_id": child.initiated_event_id,
        "workflow_id": child.initiated.workflow_id,
        "run_id": child.run_id,
        "started_event_id": child.started_event_id,
        "close_policy": child.close_policy().as_str_name(),
    })
}

fn sizes(fields: &BTreeMap<String, Payload>) -> Value {
    Value::Object(fields.iter().map(|(name, payload)| (name.clone(), json!(payload.data.len()))).collect())
}

/// Seconds since the epoch, to the nanosecond.
fn time(at: Timestamp) -> String {
    at.to_string()
}

fn nanos(at: i64) -> Option<String> {
    (at != 0).then(|| time(Timestamp::from_nanos(at)))
}
