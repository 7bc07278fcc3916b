//! Changes as operators see them: what happened, without any payload.

use bytes::Bytes;
use execution::{Change, Fact, RunChange, Step};
use serde_json::{Value, json};
use storage::Seq;

/// A change as the log holds it.
pub(super) fn show_change(position: Seq, bytes: &Bytes) -> Value {
    let mut shown = match Change::decode(bytes.clone()) {
        // Ids and a status, nothing of a user's.
        Ok(Change::Chain(fact)) => json!({"chain": format!("{:?}", fact.fact)}),
        Ok(Change::Run(change)) => show_run_change(&change),
        Err(error) => json!({"undecodable": error.to_string()}),
    };
    shown["position"] = json!(position.0);
    shown["bytes"] = json!(bytes.len());
    shown
}

fn show_run_change(change: &RunChange) -> Value {
    let mut events = change.batch.iter().flat_map(|batch| batch.events());
    let steps = change.steps.iter().map(|step| match step {
        Step::Event => match events.next() {
            Some(event) => json!({"event": event.event_id, "type": event.event_type().as_str_name()}),
            None => json!({"event": "missing"}),
        },
        Step::Fact(fact) => show_fact(fact),
    });
    json!({"run": change.run_id, "steps": steps.collect::<Value>()})
}

fn show_fact(fact: &Fact) -> Value {
    match fact {
        Fact::Activity(moved) => json!({
            "activity": moved.scheduled_event_id, "attempt": moved.progress.attempt,
            "started": moved.progress.started_at != 0,
        }),
        Fact::Buffered(event) => json!({"buffered": event.event_type().as_str_name()}),
        Fact::Unbuffered(_) => json!("unbuffered"),
        Fact::UnbufferedTimer(timer) => json!({"unbuffered_timer": timer}),
        Fact::Sticky(sticky) => json!({"sticky_queue": sticky.queue}),
        Fact::FirstTaskAt(at) => json!({"first_task_at": at}),
        Fact::CancelRequestId(id) => json!({"cancel_request": id}),
        Fact::ChildReleased(id) => json!({"child_released": id}),
        Fact::ChildStarted(started) => json!({"child_started": started.initiated_event_id, "run": started.run_id}),
        Fact::OwesParent(owes) => json!({"owes_parent": owes}),
        Fact::StartRequestId(id) => json!({"start_request": id}),
        Fact::TransientScheduled(scheduled) => {
            json!({"transient_task": scheduled.scheduled_event_id, "attempt": scheduled.attempt})
        }
        Fact::TransientStarted(start) => json!({"transient_task": "started", "by": start.identity}),
        Fact::TaskDispatched(stamp) => json!({"task_dispatched": stamp}),
        Fact::Forked(_) => json!("forked"),
        Fact::ResetAt(at) => json!({"reset_at": at}),
        Fact::ResetTo(run_id) => json!({"reset_to": run_id}),
        Fact::UpdateRejected(id) => json!({"update_rejected": id}),
        Fact::TransientFailed(_) => json!({"transient_task": "failed"}),
        Fact::TransientDue(_) => json!({"transient_task": "due"}),
        Fact::TaskBacklogged(_) => json!("workflow_task_persisted_by_matching"),
        Fact::SignalsKeptOut(_) => json!("signals_kept_out"),
        Fact::HeartbeatsSince(at) => json!({"task_heartbeats_since": at}),
    }
}
