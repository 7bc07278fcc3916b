//! A transition in the making: facts are applied to a copy as they are added, so that each decision sees the ones before
//! it. A refusal just drops the copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Held;
use api::temporal::api::common::v1::Link;
use api::temporal::api::enums::v1::EventType;
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::sdk::v1::{EventGroupMarker, UserMetadata};
use api::texts;
use ids::Timestamp;

use crate::chain::{ChainFact, ChainMove, Current, Seen};
use crate::change::{Batch, Change, Empty, Fact, RunChange, Step};
use crate::duration::wire_time;
use crate::events::{self, Effect, Meaning, Pending, Recording};
use crate::held::owned;
use crate::reply::{Reply, Transition};
use crate::requests::{RequestKind, request_key};
use crate::run::Run;
use crate::workflow::Workflow;
use crate::{Env, Rejection};

/// What goes with an event beside its attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) user_metadata: Option<UserMetadata>,
    pub(crate) links: Vec<Link>,
    pub(crate) markers: Vec<EventGroupMarker>,
}

pub(crate) struct Draft<'a> {
    pub(crate) env: &'a Env<'a>,
    /// What the transition begins from.
    pub(crate) before: &'a Workflow,
    pub(crate) next: Workflow,
    chain: Vec<ChainFact>,
    runs: Vec<Touched>,
    drawn: u64,
}

struct Touched {
    run_id: String,
    steps: Vec<Step>,
    events: Vec<HistoryEvent>,
}

impl<'a> Draft<'a> {
    pub(crate) fn of(workflow: &'a Workflow, env: &'a Env<'a>) -> Self {
        Self { env, before: workflow, next: workflow.clone(), chain: Vec::new(), runs: Vec::new(), drawn: 0 }
    }

    /// The run as it stands in this draft. Only for runs known to be in memory.
    pub(crate) fn run(&self, run_id: &str) -> &Arc<Run> {
        &self.next.runs[run_id]
    }

    /// A fresh UUID, derived from the transition's seed.
    pub(crate) fn uuid(&mut self) -> String {
        self.drawn += 1;
        let high = mixed(self.env.seed as u64 ^ self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let low = mixed((self.env.seed >> 64) as u64 ^ high.rotate_left(17) ^ self.drawn);
        let (a, b) = (high >> 32, high >> 16 & 0xffff);
        let version = 0x4000 | high & 0x0fff;
        let variant = 0x8000 | low >> 48 & 0x3fff;
        format!("{a:08x}-{b:04x}-{version:04x}-{variant:04x}-{:012x}", low & 0xffff_ffff_ffff)
    }

    /// The time of the run's next event: never before its last.
    pub(crate) fn time_in(&self, run_id: &str) -> Timestamp {
        let last = self.next.runs.get(run_id).map_or(0, |run| run.core.last_event_at);
        self.env.now.max(Timestamp::from_nanos(last))
    }

    /// Adds a run that does not exist yet.
    pub(crate) fn bear(&mut self, run_id: &str) {
        self.next.absent.remove(run_id);
        self.next.runs.insert(run_id.to_owned(), Arc::new(Run::unborn(run_id.to_owned())));
    }

    /// Records an event; its id. See [`Draft::event_with`].
    pub(crate) fn event(&mut self, run_id: &str, attributes: Attributes) -> i64 {
        self.event_with(run_id, attributes, Notes::default())
    }

    /// Records an event with notes: in the history, or, if it comes from outside while a worker has the workflow task, in
    /// the buffer. Its id, 0 if buffered.
    pub(crate) fn event_with(&mut self, run_id: &str, attributes: Attributes, notes: Notes) -> i64 {
        let Meaning { kind, recording, .. } = events::meaning(&attributes);
        let is_busy = self.run(run_id).task.as_ref().is_some_and(|task| task.is_started());
        let mut event = self.new_event(run_id, kind, attributes, notes);
        if is_busy && recording == Recording::Buffered {
            self.fact(run_id, Fact::Buffered(Box::new(event)));
            return 0;
        }
        event.event_id = self.run(run_id).core.next_event_id;
        self.append(run_id, event)
    }

    /// Adds an internal fact about a run.
    pub(crate) fn fact(&mut self, run_id: &str, fact: Fact) {
        let fact = match fact {
            Fact::Activity(mut moved) => {
                moved.progress.own_bytes();
                Fact::Activity(moved)
            }
            Fact::Buffered(event) => Fact::Buffered(owned(event)),
            // Nothing else holds what a request brought.
            fact => fact,
        };
        self.run_mut(run_id).apply_fact(&fact);
        self.touched(run_id).steps.push(Step::Fact(fact));
    }

    /// Adds a fact about the chain.
    pub(crate) fn chain(&mut self, fact: ChainMove) {
        let fact = ChainFact { fact: Some(fact) };
        Arc::make_mut(&mut self.next.chain).apply(&fact);
        self.chain.push(fact);
    }

    /// Remembers that a request was carried out on a run.
    pub(crate) fn remember(&mut self, kind: RequestKind, request_id: &str, run_id: &str) {
        if !request_id.is_empty() {
            self.chain(ChainMove::Seen(Seen {
                request: request_key(kind, request_id),
                run_id: run_id.to_owned(),
                keep: self.env.limits.request_ids_max as u64,
            }));
        }
    }

    /// Moves the buffered events into the history; whether there were any.
    pub(crate) fn flush_buffered(&mut self, run_id: &str) -> bool {
        let buffered = self.run(run_id).buffered.clone();
        if buffered.is_empty() {
            return false;
        }
        self.fact(run_id, Fact::Unbuffered(Empty {}));
        let mut started = BTreeMap::new();
        // What ends activities and children comes after everything else, as in the public server.
        let (ends, others): (Vec<_>, Vec<_>) = buffered.into_iter().partition(|event| events::refers_to_start(event));
        for event in others.into_iter().chain(ends) {
            let mut event = (*event).clone();
            event.event_id = self.run(run_id).core.next_event_id;
            let at = Timestamp::from_nanos(crate::apply::event_nanos(&event));
            let last = Timestamp::from_nanos(self.run(run_id).core.last_event_at);
            event.event_time = Some(wire_time(at.max(last)));
            refer_to_started(&mut event, &mut started);
            self.append(run_id, event);
        }
        true
    }

    /// Ends the transition, or what the limits make of it.
    pub(crate) fn finish(mut self, reply: impl FnOnce(&Workflow) -> Reply) -> Transition {
        crate::decide::enforce_limits(&mut self);
        crate::decide::end_instead(&self).unwrap_or_else(|| self.close(reply))
    }

    /// Ends the transition, whatever the limits.
    pub(crate) fn close(mut self, reply: impl FnOnce(&Workflow) -> Reply) -> Transition {
        self.keep_chain_in_step();
        let mut changes: Vec<Change> = Vec::with_capacity(self.runs.len() + self.chain.len());
        for touched in std::mem::take(&mut self.runs) {
            let batch = (!touched.events.is_empty()).then(|| Arc::new(Batch::new(touched.events)));
            self.run_mut(&touched.run_id).end_transition(batch.clone());
            changes.push(Change::Run(RunChange { run_id: touched.run_id, steps: touched.steps, batch }));
        }
        changes.extend(self.chain.into_iter().map(Change::Chain));
        let reply = reply(&self.next);
        Transition { changes, next: self.next, reply }
    }

    /// The chain knows its newest run's status, and which runs must stay in memory.
    fn keep_chain_in_step(&mut self) {
        let touched: Vec<String> = self.runs.iter().map(|touched| touched.run_id.clone()).collect();
        for run_id in touched {
            let run = self.run(&run_id).clone();
            let chain = &self.next.chain;
            if chain.current_run_id == run_id && chain.current_status != run.core.status {
                let current = Current {
                    run_id: run_id.clone(),
                    first_run_id: chain.first_run_id.clone(),
                    start_request_id: chain.start_request_id.clone(),
                    status: run.core.status,
                };
                self.chain(ChainMove::Current(current));
            }
            if run.is_finished() && self.next.chain.live_runs.contains(&run_id) {
                self.chain(ChainMove::Finished(run_id));
            }
        }
    }

    /// The runs that this transition has touched.
    pub(crate) fn touched_runs(&self) -> impl Iterator<Item = &str> + Clone {
        self.runs.iter().map(|touched| touched.run_id.as_str())
    }

    /// Those of them that are open.
    pub(crate) fn touched_open_runs(&self) -> Vec<String> {
        self.touched_runs().filter(|run_id| self.run(run_id).is_open()).map(str::to_owned).collect()
    }

    fn new_event(&self, run_id: &str, kind: EventType, attributes: Attributes, notes: Notes) -> HistoryEvent {
        HistoryEvent {
            worker_may_ignore: kind == EventType::WorkflowExecutionOptionsUpdated,
            event_time: Some(wire_time(self.time_in(run_id))),
            event_type: kind as i32,
            user_metadata: notes.user_metadata,
            links: notes.links,
            event_group_markers: notes.markers,
            attributes: Some(attributes),
            ..HistoryEvent::default()
        }
    }

    /// Writes an event that has its id and its time.
    pub(crate) fn append(&mut self, run_id: &str, event: HistoryEvent) -> i64 {
        let id = event.event_id;
        let event = owned(event);
        let applied = self.run_mut(run_id).apply_event(&event);
        debug_assert_eq!(applied, Ok(()));
        let touched = self.touched(run_id);
        touched.steps.push(Step::Event);
        touched.events.push(event);
        id
    }

    fn run_mut(&mut self, run_id: &str) -> &mut Run {
        let run = self.next.runs.get_mut(run_id).expect("a draft touches only runs in memory");
        Arc::make_mut(run)
    }

    fn touched(&mut self, run_id: &str) -> &mut Touched {
        let at = self.runs.iter().position(|touched| touched.run_id == run_id).unwrap_or_else(|| {
            self.runs.push(Touched { run_id: run_id.to_owned(), steps: Vec::new(), events: Vec::new() });
            self.runs.len() - 1
        });
        &mut self.runs[at]
    }
}

/// The run that an input names, or the current one; it must be in memory (see `needs`).
pub(crate) fn resolve<'w>(workflow: &'w Workflow, run_id: &str, env: &Env<'_>) -> Result<&'w Arc<Run>, Rejection> {
    let named = if run_id.is_empty() { &workflow.chain.current_run_id } else { run_id };
    let not_found = || {
        Rejection::NotFound(match run_id {
            "" => texts::workflow_not_found(env.workflow_id),
            run_id => texts::run_not_found(env.workflow_id, run_id),
        })
    };
    workflow.runs.get(named).ok_or_else(not_found)
}

/// The same, for what only an open run can take.
pub(crate) fn resolve_open<'w>(workflow: &'w Workflow, run_id: &str, env: &Env<'_>) -> Result<&'w Arc<Run>, Rejection> {
    let run = resolve(workflow, run_id, env)?;
    if run.is_open() { Ok(run) } else { Err(Rejection::AlreadyCompleted) }
}

/// The finalizer of splitmix64.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The end of an activity or a child that was buffered with its start was made before that had an id: fills that in, now
/// that it has one. `started` has those seen so far, by the event that opened what has started.
fn refer_to_started(event: &mut HistoryEvent, started: &mut BTreeMap<i64, i64>) {
    let id = event.event_id;
    let ended = match events::effect_of(event) {
        Effect::StartsActivity(activity) => {
            started.insert(activity.scheduled_event_id, id);
            return;
        }
        Effect::StartsChild(child) => {
            started.insert(child.initiated_event_id, id);
            return;
        }
        Effect::Ends(Pending::Activity(ended) | Pending::Child(ended)) => ended,
        _ => return,
    };
    if let Some(refers_to) = event.attributes.as_mut().and_then(events::started_event_id)
        && *refers_to == 0
    {
        *refers_to = started.get(&ended).copied().unwrap_or(0);
    }
}
