//! One workflow ID in memory, in its table and in its log; the clock; and the laws that are looked at after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::*;
use api::temporal::api::workflowservice::v1::RespondWorkflowTaskCompletedRequest;
use bytes::Bytes;
use execution::{
    ActivitySelector, ActivityState, ActivityTaken, Ask, Chain, ChainRow, Change, CompleteActivity,
    CompleteWorkflowTask, Env, Input, Limits, Rejection, Reply, Run, RunRow, Started, TaskCompleted, TaskTaken,
    Transition, UpdateState, WakeUp, Workflow, activity_state, decide, invariants, needs, next_wake_up, obligation,
    obligations,
};
use ids::{Timestamp, WallClock};
use prost::Message;

use crate::bookkeeping::Histories;
use crate::dice::Dice;
use crate::{accounts, rebuild, reset, talk};

/// Kinds of inputs, answers and events that generated conversations must reach.
pub const EXPECTED: &[&str] = &[
    "started",
    "found",
    "signalled",
    "task started",
    "activity started",
    "stale",
    "task completed",
    "new task",
    "eager activity",
    "heartbeat",
    "refused but written",
    "outgrown",
    "NotFound",
    "AlreadyCompleted",
    "AlreadyStarted",
    "InvalidArgument",
    "LimitExceeded",
    "crash",
    "loss",
    "eviction",
    "transient task",
    "buffered",
    "persisted",
    "sticky",
    "reset",
    "fork",
    "NotYet",
    "volatile",
    "speculative task",
    "speculative start",
    "rejected update",
    "no trace",
    "NotReady",
    "TooManyInFlight",
    "WorkflowExecutionUpdateAdmitted",
    "WorkflowExecutionUpdateAccepted",
    "WorkflowExecutionUpdateCompleted",
    "WorkflowExecutionStarted",
    "WorkflowExecutionCompleted",
    "WorkflowExecutionFailed",
    "WorkflowExecutionTimedOut",
    "WorkflowTaskScheduled",
    "WorkflowTaskStarted",
    "WorkflowTaskCompleted",
    "WorkflowTaskTimedOut",
    "WorkflowTaskFailed",
    "ActivityTaskScheduled",
    "ActivityTaskStarted",
    "ActivityTaskCompleted",
    "ActivityTaskFailed",
    "ActivityTaskTimedOut",
    "ActivityTaskCancelRequested",
    "ActivityTaskCanceled",
    "TimerStarted",
    "TimerFired",
    "TimerCanceled",
    "WorkflowExecutionCancelRequested",
    "WorkflowExecutionCanceled",
    "RequestCancelExternalWorkflowExecutionInitiated",
    "RequestCancelExternalWorkflowExecutionFailed",
    "ExternalWorkflowExecutionCancelRequested",
    "MarkerRecorded",
    "WorkflowExecutionSignaled",
    "WorkflowExecutionTerminated",
    "WorkflowExecutionContinuedAsNew",
    "StartChildWorkflowExecutionInitiated",
    "StartChildWorkflowExecutionFailed",
    "ChildWorkflowExecutionStarted",
    "ChildWorkflowExecutionCompleted",
    "ChildWorkflowExecutionFailed",
    "ChildWorkflowExecutionCanceled",
    "ChildWorkflowExecutionTimedOut",
    "ChildWorkflowExecutionTerminated",
    "SignalExternalWorkflowExecutionInitiated",
    "SignalExternalWorkflowExecutionFailed",
    "ExternalWorkflowExecutionSignaled",
    "UpsertWorkflowSearchAttributes",
    "WorkflowPropertiesModified",
];

pub struct World {
    live: Workflow,
    /// The same, made from the log alone, and never evicted.
    folded: Workflow,
    /// The encoded changes, by transition.
    log: Vec<Vec<Bytes>>,
    /// Runs that have left memory, as their rows.
    table: BTreeMap<String, Vec<u8>>,
    histories: Histories,
    /// Where updates stood that have been accepted, by run and id.
    answers: BTreeMap<(String, String), UpdateState>,
    now: Timestamp,
    limits: Limits,
    decided: u128,
    said: Vec<String>,
    seen: BTreeMap<String, usize>,
}

impl World {
    pub fn new() -> Self {
        let limits = Limits {
            blob_bytes: 2000,
            memo_bytes: 400,
            pending_max: 6,
            signals_max: 12,
            updates_in_flight_max: 2,
            updates_max: 8,
            buffered_max: 4,
            history_max_events: 150,
            history_hint_events: 40,
            state_max_bytes: 2500,
            closing_max_bytes: 1200,
            request_ids_max: 20,
            workflow_task_heartbeat_max: Duration::from_secs(60),
            ..Limits::default()
        };
        Self {
            live: Workflow::default(),
            folded: Workflow::default(),
            log: Vec::new(),
            table: BTreeMap::new(),
            histories: Histories::default(),
            answers: BTreeMap::new(),
            now: Timestamp::from_millis(1_767_225_600_000),
            limits,
            decided: 0,
            said: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Something happens, chosen by a number.
    pub fn step(&mut self, saying: u64) -> Result<(), String> {
        let mut dice = Dice::new(saying);
        let open = self.live.current().is_some_and(|run| run.is_open());
        match dice.below(100) {
            0..=10 => self.move_clock(&mut dice),
            11 => {
                if let Some(input) = reset::reset(&self.folded, &mut dice) {
                    self.say(input)?;
                }
            }
            12 if dice.percent(50) => self.crash(&mut dice)?,
            13..15 => self.evict(),
            15..70 if !open => {
                let start = talk::start(&mut dice, open);
                self.say(Input::of_chain(start))?;
            }
            _ => {
                if let Some(input) = talk::next(&self.live, &mut dice) {
                    self.say(input)?;
                }
            }
        }
        Ok(())
    }

    /// Mostly forward a little, often to just what is awaited, now and then far, now and then backwards.
    fn move_clock(&mut self, dice: &mut Dice) {
        let wake = next_wake_up(&self.live);
        let by = |nanos: u64| Duration::from_nanos(nanos);
        self.now = match dice.below(10) {
            0..5 => self.now.max(wake.unwrap_or(self.now)).min(self.now + Duration::from_secs(1_000_000)),
            5 => self.now + by(dice.number() % 100_000_000_000_000),
            6 => self.now - by(dice.number() % 100_000_000_000),
            _ => self.now + by(dice.number() % 5_000_000_000),
        };
        self.said.push(format!("clock {}", self.now));
    }

    /// The process dies: memory is read again from the table's rows; what was not durable is as if it had never been.
    fn crash(&mut self, dice: &mut Dice) -> Result<(), String> {
        self.said.push("crash".to_owned());
        self.note("crash");
        if dice.percent(40) && self.log.len() > 3 {
            let kept = self.log.len() - 1 - dice.below(3);
            self.note("loss");
            self.log.truncate(kept);
            self.table.clear();
            self.folded = fold(&self.log)?;
            self.live = self.folded.clone();
            self.histories = Histories::of(&self.folded)?;
            // What was lost had not been acknowledged.
            self.answers.clear();
        }
        let chain = ChainRow::decode(ChainRow::of(&self.live.chain).encode_to_vec().as_slice());
        let chain: Chain = chain.map_err(|error| error.to_string())?.into_chain()?;
        let mut reread = Workflow { chain: Arc::new(chain), ..Workflow::default() };
        for run in self.live.runs.values() {
            reread.runs.insert(Arc::new(through_row(run)?));
        }
        self.live = reread;
        self.check_same()
    }

    /// What is closed and owes nothing leaves memory.
    fn evict(&mut self) {
        self.note("eviction");
        let live_runs = self.live.chain.live_runs.clone();
        let is_live = |run: &Run| live_runs.contains(&run.core.run_id);
        for run in self.live.runs.values().filter(|run| !is_live(run)) {
            self.table.insert(run.core.run_id.clone(), RunRow::of(run).encode_to_vec());
        }
        self.live.runs.retain(|run| is_live(run));
    }

    fn say(&mut self, input: Input) -> Result<(), String> {
        self.said.push(format!("{} {input:?}", self.now));
        if let Some(run_id) = needs(&self.live, &input) {
            self.look_up(run_id)?;
        }
        self.decided += 1;
        let seed = self.decided.wrapping_mul(0x1234_5678_9abc_def1_2345_6789_abcd_ef12);
        let (now, wall, limits) = (self.now, WallClock::in_step(self.now), &self.limits);
        let env = Env { now, wall, seed, limits, namespace_id: "namespace-id", workflow_id: "wf" };
        let first = decide(&self.live, input.clone(), &env);
        same_decision(&first, &decide(&self.live, input.clone(), &env))?;
        match first {
            Ok(transition) => self.take(transition)?,
            Err(rejection) => self.note_rejection(&rejection),
        }
        if matches!(input.ask, Ask::WakeUp(_)) {
            self.wake_ups_come_to_rest()?;
        }
        Ok(())
    }

    fn look_up(&mut self, run_id: String) -> Result<(), String> {
        match self.table.get(&run_id) {
            Some(row) => {
                let row = RunRow::decode(row.as_slice()).map_err(|error| error.to_string())?;
                self.live.runs.insert(Arc::new(row.into_run()?));
            }
            None => drop(self.live.absent.insert(run_id)),
        }
        Ok(())
    }

    /// What was decided becomes so, and every law is looked at.
    fn take(&mut self, transition: Transition) -> Result<(), String> {
        self.note_reply(&transition.reply);
        self.updates_are_kept(&transition.next)?;
        if transition.changes.is_empty() {
            if transition.next != self.live && !transition.is_volatile {
                return Err("without a change the state is another".to_owned());
            }
            if durable(&transition.next) != durable(&self.live) {
                return Err("what is durable has changed without a change".to_owned());
            }
            invariants(&transition.next)?;
            accounts::follow(&self.live, &transition.next)?;
            accounts::balance(&transition.next)?;
            if transition.is_volatile {
                self.note("volatile");
                self.live = transition.next;
                self.live.absent.clear();
                self.note_volatile();
            }
            return Ok(());
        }
        let encoded: Vec<Bytes> = transition.changes.iter().map(Change::encode).collect();
        apply(&mut self.folded, &encoded)?;
        self.log.push(encoded);
        accounts::follow(&self.live, &transition.next)?;
        self.live = transition.next;
        self.live.absent.clear();
        self.check_same()?;
        invariants(&self.live)?;
        for change in &transition.changes {
            if let Change::Run(change) = change {
                let events = change.batch.iter().flat_map(|batch| batch.events());
                for event in events.clone() {
                    self.note(&event.event_type().as_str_name().replace("EVENT_TYPE_", ""));
                }
                if change.forks() {
                    self.note("fork");
                    let shared = reset::shared_history(&self.folded, &self.folded.runs[&change.run_id]);
                    self.histories.add(&change.run_id, shared.into_iter(), Timestamp::MAX)?;
                }
                self.histories.add(&change.run_id, events, self.now)?;
                let run = &self.live.runs[&change.run_id];
                through_row(run)?;
                self.fits(run)?;
                self.histories.agree_with(run)?;
                self.note_state(&change.run_id);
            }
        }
        accounts::balance(&self.live)
    }

    /// An update that was accepted has one outcome, which stays; none that was accepted is lost.
    fn updates_are_kept(&mut self, next: &Workflow) -> Result<(), String> {
        for run in next.runs.values() {
            let run_id = &run.core.run_id;
            for ((of, id), before) in self.answers.iter().filter(|((of, _), _)| of == run_id) {
                let now = run.update(id);
                let may_change = *before == UpdateState::Accepted;
                let is_kept =
                    matches!(now, Some(UpdateState::Accepted | UpdateState::Completed(_) | UpdateState::Abandoned));
                if !is_kept || (!may_change && now.as_ref() != Some(before)) {
                    return Err(format!("update {id} of run {of} was {before:?}, and is {now:?}"));
                }
            }
            for id in run.accepted_updates.keys().chain(run.completed_updates.keys()) {
                self.answers.extend(run.update(id).map(|state| ((run_id.clone(), id.to_owned()), state)));
            }
        }
        Ok(())
    }

    fn note_volatile(&mut self) {
        let run = self.live.current().cloned();
        let task = run.as_ref().and_then(|run| run.task.as_ref());
        let speculative = task.is_some_and(|task| task.is_speculative());
        let started = task.is_some_and(|task| task.is_speculative() && task.is_started());
        let rejected = run.as_ref().is_some_and(|run| !run.volatile.ended.is_empty());
        let kinds = [("speculative task", speculative), ("speculative start", started), ("rejected update", rejected)];
        kinds.iter().filter(|(_, holds)| *holds).for_each(|(kind, _)| self.note(kind));
    }

    /// No input makes a row that the store would not take. The row is no larger than what is counted, and hardly smaller.
    fn fits(&self, run: &Run) -> Result<(), String> {
        let Limits { state_max_bytes, closing_max_bytes, .. } = self.limits;
        let most = if run.is_open() { state_max_bytes } else { state_max_bytes + closing_max_bytes };
        let row = RunRow::of(run);
        let row = row.encoded_len() - row.core_bytes();
        let counted = run.state_bytes();
        let settings = run.attached.len() + run.memo.len() + run.search_attributes.len();
        let updates = run.accepted_updates.len() + run.completed_updates.len() + run.reapplied_updates.len();
        let entries = pending(run) + run.buffered.len() + settings + updates + 2;
        if row <= counted + 8 && counted <= row + entries * 64 && counted <= most {
            return Ok(());
        }
        Err(format!("the row has {row} bytes, {counted} were counted, at most {most} should fit: {run:?}"))
    }

    /// What is in memory is what the log says, but for the history that only the log has.
    fn check_same(&self) -> Result<(), String> {
        if self.live.chain != self.folded.chain {
            return Err(format!("chain: {:?}\nfrom the log: {:?}", self.live.chain, self.folded.chain));
        }
        for (id, run) in &self.live.runs {
            let folded = self.folded.runs.get(id).ok_or_else(|| format!("the log knows no run {id}"))?;
            if without_history(&run.durable()) != without_history(folded) {
                return Err(format!("run: {run:?}\nfrom the log: {folded:?}"));
            }
            let tail = folded.batches.values().skip(folded.batches.len() - run.batches.len());
            if !tail.eq(run.batches.values()) {
                return Err("the history in memory is not the log's".to_owned());
            }
        }
        Ok(())
    }

    /// Waking again at the same time comes to rest quickly, and then nothing is due.
    fn wake_ups_come_to_rest(&mut self) -> Result<(), String> {
        for _ in 0..12 {
            self.decided += 1;
            let (now, wall, limits) = (self.now, WallClock::in_step(self.now), &self.limits.clone());
            let env = Env { now, wall, seed: self.decided, limits, namespace_id: "namespace-id", workflow_id: "wf" };
            let due = next_wake_up(&self.live).is_some_and(|wake| wake <= self.now);
            let woken = decide(&self.live, Input::of_chain(WakeUp), &env).map_err(|rejection| rejection.to_string())?;
            match (due, woken.changes.is_empty()) {
                (false, true) => return Ok(()),
                (true, true) => return Err(format!("due at {:?}, but waking does nothing", next_wake_up(&self.live))),
                (false, false) => return Err("nothing was due, but waking did something".to_owned()),
                (true, false) => self.take(woken)?,
            }
        }
        Err("waking at one time does not come to rest".to_owned())
    }

    /// From now on each component does what is asked of it, and time passes: whatever is pending ends.
    pub fn settle(&mut self) -> Result<(), String> {
        let mut dice = Dice::new(7);
        for _ in 0..600 {
            let Some(run) = self.live.current().cloned().filter(|run| run.is_open()) else { break };
            let input = self.sensible(&run, &mut dice);
            match input {
                Some(input) => self.say(input)?,
                None => match next_wake_up(&self.live) {
                    // A time-out from the end of time is over at once, and so is that of the run that retries it: no rest.
                    Some(Timestamp::MAX) => return Ok(()),
                    Some(wake) if pending(&run) > 0 || run.core.first_task_at != 0 => {
                        self.now = self.now.max(wake);
                        self.say(Input::of_chain(WakeUp))?;
                    }
                    None if pending(&run) > 0 => return Err(format!("nothing will happen any more to {run:?}")),
                    _ => break,
                },
            }
        }
        let Some(run) = self.live.current().cloned() else { return Ok(()) };
        if run.is_open() && pending(&run) > 0 {
            return Err(format!("still pending after a long time: {run:?}"));
        }
        if run.is_open() {
            self.histories.all_has_ended(&run.core.run_id)?;
        }
        for run in self.folded.runs.values() {
            rebuild::from_events_alone(&self.folded, run)?;
        }
        Ok(())
    }

    fn sensible(&self, run: &Run, dice: &mut Dice) -> Option<Input> {
        if let Some(id) = obligations(&self.live).first() {
            return Some(talk::answer_to(&obligation(&self.live, id)?, dice, 100));
        }
        if let Some(task) = talk::held_task(run) {
            let request = RespondWorkflowTaskCompletedRequest::default();
            let complete = CompleteWorkflowTask { task, request, more_wanted: false };
            return Some(Input::new(run.core.run_id.as_str(), complete));
        }
        if let Some(persisted) = talk::persisted(&self.live, dice) {
            return Some(persisted);
        }
        let started = run.activities.values().find(|activity| activity_state(activity) == ActivityState::Started);
        if let Some(activity) = started {
            let (scheduled_event_id, attempt) = (activity.scheduled_event_id, activity.progress.attempt);
            let selector = ActivitySelector::Attempt { scheduled_event_id, attempt };
            let result = CompleteActivity(talk::result(selector, None));
            return Some(Input::new(run.core.run_id.as_str(), result));
        }
        let child = run.children.values().find(|child| child.is_started())?;
        let outcome = WorkflowExecutionCompletedEventAttributes::default();
        let outcome = Attributes::WorkflowExecutionCompletedEventAttributes(outcome);
        Some(talk::closed(run, child.initiated_event_id, outcome))
    }

    pub fn last_words(&self) -> String {
        let from = self.said.len().saturating_sub(12);
        self.said[from..].iter().map(|said| format!("  {said:.600}\n")).collect()
    }

    pub fn seen(self, into: &mut BTreeMap<String, usize>) {
        for (kind, times) in self.seen {
            *into.entry(kind).or_insert(0) += times;
        }
    }

    fn note(&mut self, kind: &str) {
        let words = kind.split('_').filter(|word| !word.is_empty());
        let shouted = kind.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let name = if shouted {
            words.map(|w| format!("{}{}", &w[..1], w[1..].to_lowercase())).collect()
        } else {
            kind.to_owned()
        };
        *self.seen.entry(name).or_insert(0) += 1;
    }

    fn note_state(&mut self, run_id: &str) {
        let run = self.live.runs[run_id].clone();
        let task = run.task.as_ref();
        let metadata = [
            ("transient task", task.is_some_and(|task| task.is_transient())),
            ("buffered", !run.buffered.is_empty()),
            ("persisted", task.is_some_and(|task| task.is_backlogged())),
            ("sticky", task.is_some_and(|task| task.sticky_until().is_some())),
        ];
        metadata.iter().filter(|(_, holds)| *holds).for_each(|(kind, _)| self.note(kind));
    }

    fn note_reply(&mut self, reply: &Result<Reply, Rejection>) {
        let kinds: &[(&str, bool)] = match reply {
            Ok(Reply::Done(()) | Reply::Signalled(_) | Reply::Run(_)) => &[],
            Ok(Reply::Started(Started { started, signalled, .. })) => {
                &[("started", *started), ("found", !*started), ("signalled", *signalled)]
            }
            Ok(Reply::TaskTaken(TaskTaken::Started(_))) => &[("task started", true)],
            Ok(Reply::ActivityTaken(ActivityTaken::Started { .. })) => &[("activity started", true)],
            Ok(Reply::TaskTaken(TaskTaken::Stale) | Reply::ActivityTaken(ActivityTaken::Stale)) => &[("stale", true)],
            Ok(Reply::TaskCompleted(TaskCompleted { new_task, eager_activities, reset_to, .. })) => &[
                ("task completed", true),
                ("new task", *new_task),
                ("eager activity", !eager_activities.is_empty()),
                ("no trace", reset_to.is_some()),
            ],
            Ok(Reply::ResetDone(_)) => &[("reset", true)],
            Ok(Reply::HeartbeatNoted(_)) => &[("heartbeat", true)],
            Err(rejection) => {
                let outgrown = rejection.to_string().contains("state size exceeds limit");
                &[("refused but written", !outgrown), ("outgrown", outgrown)]
            }
        };
        kinds.iter().filter(|(_, holds)| *holds).for_each(|(kind, _)| self.note(kind));
    }

    fn note_rejection(&mut self, rejection: &Rejection) {
        self.note(match rejection {
            Rejection::NotFound(_) => "NotFound",
            Rejection::AlreadyCompleted => "AlreadyCompleted",
            Rejection::AlreadyStarted { .. } => "AlreadyStarted",
            Rejection::InvalidArgument(_) => "InvalidArgument",
            Rejection::LimitExceeded(_) => "LimitExceeded",
            Rejection::NotYet(_) => "NotYet",
            Rejection::NotReady(_) => "NotReady",
            Rejection::TooManyInFlight(_) => "TooManyInFlight",
        });
    }
}

/// Things that must end some day.
fn pending(run: &Run) -> usize {
    let task = usize::from(run.task.is_some());
    task + run.activities.len() + run.timers.len() + run.children.len() + run.signals.len() + run.cancels.len()
}

/// The same workflow, input and env give the same changes, byte for byte, and the same state.
fn same_decision(one: &Result<Transition, Rejection>, other: &Result<Transition, Rejection>) -> Result<(), String> {
    let same = match (one, other) {
        (Ok(one), Ok(other)) => {
            let bytes = |transition: &Transition| transition.changes.iter().map(Change::encode).collect::<Vec<_>>();
            bytes(one) == bytes(other) && one.next == other.next
        }
        (Err(one), Err(other)) => one == other,
        _ => false,
    };
    if same { Ok(()) } else { Err("the same input was decided differently".to_owned()) }
}

fn apply(workflow: &mut Workflow, encoded: &[Bytes]) -> Result<(), String> {
    for bytes in encoded {
        let change = Change::decode(bytes.clone()).map_err(|error| format!("a change does not decode: {error}"))?;
        workflow.apply(&change)?;
    }
    Ok(())
}

fn fold(log: &[Vec<Bytes>]) -> Result<Workflow, String> {
    let mut workflow = Workflow::default();
    for encoded in log {
        apply(&mut workflow, encoded)?;
    }
    Ok(workflow)
}

/// What is left when memory is lost.
fn durable(workflow: &Workflow) -> Workflow {
    let runs = workflow.runs.values().map(|run| Arc::new(run.durable())).collect();
    Workflow { runs, absent: BTreeSet::new(), ..workflow.clone() }
}

fn without_history(run: &Run) -> Run {
    let mut run = run.clone();
    run.batches.clear();
    run
}

/// A run as its row gives it back, which must be the run less its history.
fn through_row(run: &Run) -> Result<Run, String> {
    let row = RunRow::decode(RunRow::of(run).encode_to_vec().as_slice());
    let reread = row.map_err(|error| format!("a row does not decode: {error}"))?.into_run()?;
    if reread == without_history(&run.durable()) {
        return Ok(reread);
    }
    Err(format!("the row gives back {reread:?}\nof {run:?}"))
}
