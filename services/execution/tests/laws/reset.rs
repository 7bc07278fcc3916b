//! Resets, of any run to any point: most to one that makes sense, with a history that was read lately or too long ago.

use api::temporal::api::enums::v1::EventType;
use api::temporal::api::history::v1::HistoryEvent;
use execution::{Input, Reapply, Replay, Reset, Run, Successor, Workflow};

use crate::dice::Dice;

/// The whole history of a run; `workflow` has every run, with all that is its own.
pub fn history(workflow: &Workflow, run: &Run) -> Vec<HistoryEvent> {
    let mut events = shared_history(workflow, run);
    events.extend(own(run));
    events
}

/// What it shares with others.
pub fn shared_history(workflow: &Workflow, run: &Run) -> Vec<HistoryEvent> {
    let mut events = Vec::new();
    for ancestor in &run.core.ancestors {
        let next = events.len() as i64 + 1;
        let of_ancestor = own(&workflow.runs[&ancestor.run_id]);
        events.extend(of_ancestor.filter(|event| (next..ancestor.end_event_id).contains(&event.event_id)));
    }
    events
}

fn own(run: &Run) -> impl Iterator<Item = HistoryEvent> {
    run.batches.values().flat_map(|batch| batch.events())
}

/// A reset; `workflow` has every run, with all that is its own.
pub fn reset(workflow: &Workflow, dice: &mut Dice) -> Option<Input> {
    let current = workflow.current().filter(|_| dice.percent(60)).cloned();
    let base = current.or_else(|| dice.any(workflow.runs.values().cloned()))?;
    let events = history(workflow, &base);
    let is_point = |event: &&HistoryEvent| event.event_type == EventType::WorkflowTaskStarted as i32;
    let points: Vec<i64> = events.iter().filter(is_point).map(|event| event.event_id).collect();
    let finish = match dice.any(points) {
        Some(started) if dice.percent(80) => started + dice.below(2) as i64,
        _ => dice.below(events.len() + 3) as i64,
    };
    let mut past = Replay::new(finish, shared_end(&base, finish, dice));
    let read = if dice.percent(70) { events.len() } else { dice.below(events.len() + 1) };
    for event in events.into_iter().take(read) {
        past.read(event).expect("a history can be read again");
    }
    let mut successors = Vec::new();
    let mut next = Successor::of(&base).continued_as;
    while let Some(run) = workflow.runs.get(&next).filter(|_| dice.percent(95)) {
        let mut successor = Successor::of(run);
        next.clone_from(&successor.continued_as);
        history(workflow, run).into_iter().for_each(|event| successor.read(event));
        successors.push(successor);
    }
    let reapply = Reapply { signals: dice.percent(80), updates: dice.percent(80) };
    let request_id = format!("reset-{}", dice.below(30));
    Some(Input::new(
        base.core.run_id.clone(),
        Reset { request_id, reason: "law".to_owned(), reapply, past, successors },
    ))
}

/// Where the table's part of the history could end.
fn shared_end(base: &Run, finish: i64, dice: &mut Dice) -> i64 {
    let own = base.batches.values().map(|batch| batch.first_event_id);
    let of_ancestors = base.core.ancestors.iter().map(|ancestor| ancestor.end_event_id);
    let ends = own.chain(of_ancestors).filter(|end| *end < finish);
    let end = dice.any(ends.collect::<Vec<_>>());
    end.filter(|_| dice.percent(60)).unwrap_or(1)
}
