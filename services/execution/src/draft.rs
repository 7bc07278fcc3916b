//! A transition in the making: facts are applied to a copy as they are added, so that each decision sees the ones before
//! it. A refusal just drops the copy.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use api::Held;
use api::temporal::api::common::v1::Link;
use api::temporal::api::enums::v1::EventType;
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::sdk::v1::{EventGroupMarker, UserMetadata};
use ids::Timestamp;

use crate::Env;
use crate::chain::{ChainFact, ChainMove, Current, Seen};
use crate::change::{BatchDraft, Change, Empty, Fact, RunChange, Step};
use crate::duration::wire_time;
use crate::events::{self, Effect, Meaning, Pending, Recording};
use crate::held::owned;
use crate::requests::{RequestKind, request_key};
use crate::run::Run;
use crate::transient::transient_events;
use crate::workflow::Workflow;
use crate::workflow_task::WorkflowTask;

/// What an event carries beside its attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventMetadata {
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
    runs: Vec<RunChanges>,
    /// Whether what only memory has was changed.
    pub(crate) is_volatile: bool,
    drawn: u64,
}

struct RunChanges {
    run_id: String,
    steps: Vec<Step>,
    events: BatchDraft,
}

impl<'a> Draft<'a> {
    pub(crate) fn of(workflow: &'a Workflow, env: &'a Env<'a>) -> Self {
        Self {
            env,
            before: workflow,
            next: workflow.clone(),
            chain: Vec::new(),
            runs: Vec::new(),
            is_volatile: false,
            drawn: 0,
        }
    }

    /// One of its runs. Only for runs known to be in memory.
    pub(crate) fn at(&mut self, run_id: &str) -> RunDraft<'_, 'a> {
        RunDraft { run_id: run_id.to_owned(), draft: self }
    }

    /// Begins a run that does not exist yet.
    pub(crate) fn create(&mut self, run_id: &str) -> RunDraft<'_, 'a> {
        self.next.absent.remove(run_id);
        self.next.runs.insert(Arc::new(Run::empty(run_id.to_owned())));
        self.at(run_id)
    }

    /// The run as it stands in this draft. Only for runs known to be in memory.
    pub(crate) fn run(&self, run_id: &str) -> &Arc<Run> {
        self.next.runs.get(run_id).expect("a draft is of runs in memory")
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

    /// A stamp for a task that only memory has. Those that are stored count from 1; after a crash nothing must be taken for
    /// what only memory had, so it is drawn.
    pub(crate) fn speculative_stamp(&mut self) -> i64 {
        self.drawn += 1;
        let drawn = mixed(self.env.seed as u64 ^ mixed((self.env.seed >> 64) as u64 ^ self.drawn));
        (drawn >> 2) as i64 | 1 << 62
    }

    /// Adds a fact about the chain.
    pub(crate) fn chain(&mut self, fact: ChainMove) {
        let fact = ChainFact { fact: Some(fact) };
        Arc::make_mut(&mut self.next.chain).apply(&fact);
        self.chain.push(fact);
    }

    /// Ends the transition: its changes, and the state after them.
    pub(crate) fn close(mut self) -> (Vec<Change>, Workflow) {
        self.keep_chain_in_step();
        let mut changes: Vec<Change> = Vec::with_capacity(self.runs.len() + self.chain.len());
        for touched in std::mem::take(&mut self.runs) {
            let batch = touched.events.close().map(Arc::new);
            self.change_run(&touched.run_id, |run| run.end_transition(batch.clone()));
            changes.push(Change::Run(RunChange { run_id: touched.run_id, steps: touched.steps, batch }));
        }
        changes.extend(self.chain.into_iter().map(Change::Chain));
        (changes, self.next)
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

    fn change_run<T>(&mut self, run_id: &str, change: impl FnOnce(&mut Run) -> T) -> T {
        let changed = self.next.runs.update(run_id, |run| change(Arc::make_mut(run)));
        changed.expect("a draft touches only runs in memory")
    }

    fn touched(&mut self, run_id: &str) -> &mut RunChanges {
        let at = self.runs.iter().position(|touched| touched.run_id == run_id).unwrap_or_else(|| {
            self.runs.push(RunChanges { run_id: run_id.to_owned(), steps: Vec::new(), events: BatchDraft::default() });
            self.runs.len() - 1
        });
        &mut self.runs[at]
    }
}

/// One run of a transition in the making. It reads as the run does, as it stands by now.
pub(crate) struct RunDraft<'d, 'a> {
    run_id: String,
    draft: &'d mut Draft<'a>,
}

impl Deref for RunDraft<'_, '_> {
    type Target = Run;

    fn deref(&self) -> &Run {
        self.draft.run(&self.run_id)
    }
}

impl<'a> RunDraft<'_, 'a> {
    /// The run as it stands, to be looked at while it changes.
    pub(crate) fn snapshot(&self) -> Arc<Run> {
        Arc::clone(self.draft.run(&self.run_id))
    }

    /// What the decision knows of the world.
    pub(crate) fn env(&self) -> &'a Env<'a> {
        self.draft.env
    }

    /// The transition that it is part of.
    pub(crate) fn draft(&mut self) -> &mut Draft<'a> {
        self.draft
    }

    /// A fresh UUID, derived from the transition's seed.
    pub(crate) fn uuid(&mut self) -> String {
        self.draft.uuid()
    }

    /// The time of the run's next event: never before its last.
    pub(crate) fn now(&self) -> Timestamp {
        self.env().now.max(Timestamp::from_nanos(self.core.last_event_at))
    }

    /// Records an event; its id. See [`RunDraft::event_with`].
    pub(crate) fn event(&mut self, attributes: Attributes) -> i64 {
        self.event_with(attributes, EventMetadata::default())
    }

    /// Records an event with metadata: in the history, or, if it comes from outside while a worker has the workflow task, in
    /// the buffer. Its id, 0 if buffered.
    pub(crate) fn event_with(&mut self, attributes: Attributes, metadata: EventMetadata) -> i64 {
        self.write_speculative();
        let Meaning { kind, recording, .. } = events::meaning(&attributes);
        let is_busy = self.task.as_ref().is_some_and(|task| task.is_started());
        let mut event = self.new_event(kind, attributes, metadata);
        if is_busy && recording == Recording::Buffered {
            self.fact(Fact::Buffered(Box::new(event)));
            return 0;
        }
        event.event_id = self.core.next_event_id;
        self.append(event)
    }

    fn new_event(&self, kind: EventType, attributes: Attributes, metadata: EventMetadata) -> HistoryEvent {
        HistoryEvent {
            worker_may_ignore: kind == EventType::WorkflowExecutionOptionsUpdated,
            event_time: Some(wire_time(self.now())),
            event_type: kind as i32,
            user_metadata: metadata.user_metadata,
            links: metadata.links,
            event_group_markers: metadata.markers,
            attributes: Some(attributes),
            ..HistoryEvent::default()
        }
    }

    /// Writes an event that has its id and its time.
    pub(crate) fn append(&mut self, event: HistoryEvent) -> i64 {
        let id = event.event_id;
        let applied = self.draft.change_run(&self.run_id, |run| run.apply_event(&event));
        debug_assert_eq!(applied, Ok(()));
        let touched = self.draft.touched(&self.run_id);
        touched.steps.push(Step::Event);
        touched.events.push(&event);
        id
    }

    /// Adds an internal fact.
    pub(crate) fn fact(&mut self, fact: Fact) {
        let fact = match fact {
            Fact::Activity(mut moved) => {
                moved.progress.own_bytes();
                Fact::Activity(moved)
            }
            Fact::Buffered(event) => Fact::Buffered(owned(event)),
            // Nothing else holds what a request brought.
            fact => fact,
        };
        let applied = self.draft.change_run(&self.run_id, |run| run.apply_fact(&fact));
        debug_assert_eq!(applied, Ok(()));
        self.draft.touched(&self.run_id).steps.push(Step::Fact(fact));
    }

    /// Writes what there is of a speculative task: it is one like any other from now on. Everything that comes into the
    /// history, or waits for the task to end, comes through here first.
    pub(crate) fn write_speculative(&mut self) {
        let Some(task) = self.task.clone().filter(WorkflowTask::is_speculative) else { return };
        for event in transient_events(self) {
            self.append(event);
        }
        // Matching and its worker know it under this name.
        self.fact(Fact::TaskDispatched(task.stamp));
        if task.is_backlogged() {
            self.fact(Fact::TaskBacklogged(Empty {}));
        }
    }

    /// Changes what only memory has of the run: no log, no row and no other owner will know.
    pub(crate) fn change_volatile<T>(&mut self, change: impl FnOnce(&mut Run) -> T) -> T {
        self.draft.is_volatile = true;
        self.draft.change_run(&self.run_id, change)
    }

    /// Remembers that a request was carried out on this run.
    pub(crate) fn remember(&mut self, kind: RequestKind, request_id: &str) {
        if !request_id.is_empty() {
            let keep = self.env().limits.request_ids_max as u64;
            let seen = Seen { request: request_key(kind, request_id), run_id: self.run_id.clone(), keep };
            self.draft.chain(ChainMove::Seen(seen));
        }
    }

    /// Moves the buffered events into the history; whether there were any.
    pub(crate) fn flush_buffered(&mut self) -> bool {
        let buffered = self.buffered.clone();
        if buffered.is_empty() {
            return false;
        }
        self.fact(Fact::Unbuffered(Empty {}));
        let mut started = BTreeMap::new();
        // What ends activities and children comes after everything else, as in the public server.
        let (ends, others): (Vec<_>, Vec<_>) = buffered.into_iter().partition(|event| events::refers_to_start(event));
        for event in others.into_iter().chain(ends) {
            let mut event = (*event).clone();
            event.event_id = self.core.next_event_id;
            let at = Timestamp::from_nanos(crate::apply::event_nanos(&event));
            let last = Timestamp::from_nanos(self.core.last_event_at);
            event.event_time = Some(wire_time(at.max(last)));
            refer_to_started(&mut event, &mut started);
            self.append(event);
        }
        true
    }
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
