//! A run's history read again, for a reset: the state as it was at a point, and what came after that must not be lost.

use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::history::v1::history_event::Attributes;

use crate::change::event_bytes;
use crate::events::{Effect, Pending, effect_of};
use crate::reply::Rejection;
use crate::run::{Ancestor, Run};

/// What a reset makes of a run's history, as far as it has been read.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The events before this one are the new run's.
    finish_event_id: i64,
    /// Of those, the ones before this one are in `state`, and stay stored where they are.
    shared_end: i64,
    /// The state after the shared ones.
    state: Run,
    /// The others, which the new run gets copies of.
    copied: Vec<HistoryEvent>,
    /// What came after and may be applied again.
    later: Vec<HistoryEvent>,
    next_event_id: i64,
}

impl Default for Replay {
    fn default() -> Self {
        Self::new(0, 1)
    }
}

/// What a replay comes to.
pub(crate) struct Replayed {
    pub(crate) shared_end: i64,
    pub(crate) state: Run,
    pub(crate) copied: Vec<HistoryEvent>,
    pub(crate) later: Vec<HistoryEvent>,
}

impl Replay {
    /// Nothing read yet. The new run is to have the events before `finish_event_id`. Those before `shared_end`, which is 1 or
    /// the first event of a stored batch and no later, are in the table.
    pub fn new(finish_event_id: i64, shared_end: i64) -> Self {
        Self {
            finish_event_id,
            shared_end,
            state: Run::empty(String::new()),
            copied: Vec::new(),
            later: Vec::new(),
            next_event_id: 1,
        }
    }

    /// The first event that has not been read.
    pub fn next_event_id(&self) -> i64 {
        self.next_event_id
    }

    /// The first event that the new run is not to have.
    pub fn finish_event_id(&self) -> i64 {
        self.finish_event_id
    }

    /// Reads the next event.
    ///
    /// # Errors
    /// When it is another, or makes no sense here.
    pub fn read(&mut self, event: HistoryEvent) -> Result<(), String> {
        let id = event.event_id;
        if id != self.next_event_id {
            return Err(format!("event {id} where {} was expected", self.next_event_id));
        }
        self.next_event_id += 1;
        if id >= self.finish_event_id {
            if is_of_outside(&event) || is_of_child(&event) {
                self.later.push(event);
            }
            return Ok(());
        }
        if id >= self.shared_end {
            self.copied.push(event);
            return Ok(());
        }
        self.fold(&event)
    }

    fn fold(&mut self, event: &HistoryEvent) -> Result<(), String> {
        self.state.core.history_bytes += event_bytes(event) as i64;
        self.state.apply_event(event)
    }

    /// Reads on in what the run has in memory, up to its end.
    pub(crate) fn finish(mut self, run: &Run) -> Result<Replayed, Rejection> {
        let unusable = |reason| Rejection::InvalidArgument(format!("the history cannot be replayed: {reason}"));
        for event in events_from(run, self.next_event_id) {
            self.read(event).map_err(unusable)?;
        }
        if self.next_event_id != run.core.next_event_id {
            return Err(changed_meanwhile());
        }
        let in_memory = run.first_event_in_memory();
        if in_memory <= self.finish_event_id && in_memory > self.shared_end {
            self.share_up_to(in_memory).map_err(unusable)?;
        }
        self.later.extend(run.buffered.iter().map(|event| (**event).clone()));
        let Self { shared_end, mut state, copied, later, .. } = self;
        state.core.ancestors = ancestors(run, shared_end);
        Ok(Replayed { shared_end, state, copied, later })
    }

    /// What is in memory from there on is not shared, whatever is stored by now; all before is stored.
    fn share_up_to(&mut self, end: i64) -> Result<(), String> {
        let rest = self.copied.iter().position(|event| event.event_id >= end).unwrap_or(self.copied.len());
        let kept = self.copied.split_off(rest);
        let shared = std::mem::replace(&mut self.copied, kept);
        self.shared_end = end;
        shared.iter().try_for_each(|event| self.fold(event))
    }
}

/// Where the events before `end` are stored.
fn ancestors(run: &Run, end: i64) -> Vec<Ancestor> {
    let own = Ancestor { run_id: run.core.run_id.clone(), end_event_id: end };
    let mut ancestors = Vec::new();
    let mut from = 1;
    for ancestor in run.core.ancestors.iter().chain([&own]) {
        if from < end {
            ancestors.push(Ancestor { run_id: ancestor.run_id.clone(), end_event_id: ancestor.end_event_id.min(end) });
        }
        from = from.max(ancestor.end_event_id);
    }
    ancestors
}

/// A run that the reset one has continued as, with what came to it from outside, as far as it has been read.
#[derive(Clone, Debug, Default)]
pub struct Successor {
    /// The run.
    pub run_id: String,
    /// The run that it has continued as in turn; empty for none.
    pub continued_as: String,
    /// Whether it was closed when it was read.
    pub is_closed: bool,
    came: Vec<HistoryEvent>,
    next_event_id: i64,
}

impl Successor {
    /// Of this run, nothing read yet.
    pub fn of(run: &Run) -> Self {
        Self {
            run_id: run.core.run_id.clone(),
            continued_as: continued_as(run).to_owned(),
            is_closed: !run.is_open(),
            came: Vec::new(),
            next_event_id: 1,
        }
    }

    /// The first event that has not been read.
    pub fn next_event_id(&self) -> i64 {
        self.next_event_id
    }

    /// Reads an event, which follows the one before.
    pub fn read(&mut self, event: HistoryEvent) {
        self.next_event_id = event.event_id + 1;
        if is_of_outside(&event) {
            self.came.push(event);
        }
    }

    /// Reads on in what the run has in memory, up to its end, and gives what came.
    pub(crate) fn finish(mut self, run: &Run) -> Result<Vec<HistoryEvent>, Rejection> {
        events_from(run, self.next_event_id).for_each(|event| self.read(event));
        if self.next_event_id != run.core.next_event_id {
            return Err(changed_meanwhile());
        }
        self.came.extend(run.buffered.iter().filter(|event| is_of_outside(event)).map(|event| (**event).clone()));
        Ok(self.came)
    }

    /// What came to a run that is closed, and so will stay as it was read.
    pub(crate) fn finished(self) -> Result<Vec<HistoryEvent>, Rejection> {
        if self.is_closed { Ok(self.came) } else { Err(changed_meanwhile()) }
    }
}

/// The run that follows a run which has continued as new; empty for none.
pub(crate) fn continued_as(run: &Run) -> &str {
    match run.closing_attributes() {
        Some(Attributes::WorkflowExecutionContinuedAsNewEventAttributes(_)) => &run.core.next_run_id,
        _ => "",
    }
}

/// Whether a reset to before this event is one at all; whether a workflow task is there shows when the history is read.
///
/// # Errors
/// When it is not among the events of the run, or the first.
pub fn check_reset_point(run: &Run, finish_event_id: i64) -> Result<(), Rejection> {
    let last = run.last_event_id();
    if (2..=last).contains(&finish_event_id) {
        return Ok(());
    }
    Err(Rejection::InvalidArgument(format!(
        "Workflow task finish ID must be > 1 && <= workflow last event ID. workflow_task_finish_event_id is \
         {finish_event_id}, 2 to {last} are allowed"
    )))
}

pub(crate) fn changed_meanwhile() -> Rejection {
    Rejection::NotYet("the workflow went on while its history was read".to_owned())
}

/// The events in memory from this one on, if it follows what was read.
fn events_from(run: &Run, next: i64) -> impl Iterator<Item = HistoryEvent> {
    let is_contiguous = run.first_event_in_memory() <= next;
    let batches = run.batches.values().filter(move |batch| is_contiguous && batch.last_event_id() >= next);
    batches.flat_map(|batch| batch.events()).filter(move |event| event.event_id >= next)
}

/// What came from outside, and would be missed.
fn is_of_outside(event: &HistoryEvent) -> bool {
    matches!(effect_of(event), Effect::Signals | Effect::AdmitsUpdate(_) | Effect::AcceptsUpdate(_))
}

/// What came of a child.
fn is_of_child(event: &HistoryEvent) -> bool {
    matches!(effect_of(event), Effect::StartsChild(_) | Effect::Ends(Pending::Child(_)))
}
