//! One workflow ID, the clock, and what a worker has in its hands. After every input the laws that can be checked on the
//! spot are checked: what was decided is what its changes, read back from the log's bytes, make of the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::temporal::api::protocol::v1::message::SequencingId;
use execution::{
    ActivityTaken, Change, Env, HeartbeatNoted, Input, Limits, Rejection, Reply, ResetDone, Run, Signalled, Started,
    TaskCompleted, TaskTaken, WakeUp, Workflow, decide, invariants, needs, next_wake_up,
};
use ids::{TaskRef, Timestamp, WallClock};

use crate::words::{self, Words};
use crate::{render, show, speech};

/// Conversations begin at 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Nanoseconds since the epoch, as the time since the conversation began.
pub fn since_start(nanos: i64) -> String {
    format!("+{}", render::span(nanos - START.nanos()))
}

pub struct World {
    pub workflow: Workflow,
    /// The same, made from the changes alone.
    folded: Workflow,
    pub now: Timestamp,
    limits: Limits,
    decided: u128,
    /// The last event of each run that has been shown.
    shown: BTreeMap<String, i64>,
    /// Generated ids by the order in which they came up: runs are r1, r2, …, others u1, u2, …
    runs: Vec<String>,
    others: Vec<String>,
    /// The workflow task that the worker has, and its run.
    pub task: (String, TaskRef),
}

impl World {
    pub fn new() -> Self {
        Self {
            workflow: Workflow::default(),
            folded: Workflow::default(),
            now: START,
            limits: Limits::default(),
            decided: 0,
            shown: BTreeMap::new(),
            runs: Vec::new(),
            others: Vec::new(),
            task: (String::new(), TaskRef::default()),
        }
    }

    /// Takes in one line; what came of it.
    pub fn hear(&mut self, line: &str) -> Result<Vec<String>, String> {
        let mut parts = line.split(" + ");
        let words = Words::read(parts.next().unwrap_or_default());
        let lines = match words.verb.as_str() {
            "clock" => {
                let by = words.name()?;
                self.move_clock(&words::duration(by)?);
                Vec::new()
            }
            "wait" => self.wait(&words::duration(words.name()?)?),
            "limits" => {
                self.limit(&words)?;
                Vec::new()
            }
            // The process ends, and the workflow is loaded from what is durable.
            "crash" => {
                self.workflow = durable(&self.workflow);
                Vec::new()
            }
            "show" => show::everything(&self.workflow, &self.runs),
            _ => {
                let input = speech::input(self, &words, parts)?;
                self.decide(input)
            }
        };
        Ok(lines.into_iter().map(|line| self.named(line)).collect())
    }

    fn limit(&mut self, words: &Words) -> Result<(), String> {
        let limits = &mut self.limits;
        let set = |limit: &mut usize, key: &str| words.number(key).map(|number| *limit = number.unwrap_or(*limit));
        set(&mut limits.blob_bytes, "blob")?;
        set(&mut limits.pending_max, "pending")?;
        set(&mut limits.buffered_max, "buffered")?;
        set(&mut limits.request_ids_max, "requests")?;
        set(&mut limits.id_bytes, "ids")?;
        set(&mut limits.fairness_key_bytes, "fairness")?;
        set(&mut limits.updates_in_flight_max, "updates-in-flight")?;
        set(&mut limits.updates_max, "updates")?;
        set(&mut limits.updates_admitted_max_bytes, "updates-bytes")?;
        set(&mut limits.state_max_bytes, "state")?;
        set(&mut limits.closing_max_bytes, "closing")?;
        let set = |limit: &mut i64, key: &str| words.number(key).map(|number| *limit = number.unwrap_or(*limit));
        set(&mut limits.signals_max, "signals")?;
        set(&mut limits.history_max_events, "events")?;
        set(&mut limits.history_max_bytes, "bytes")?;
        set(&mut limits.history_hint_events, "hint")
    }

    fn move_clock(&mut self, by: &prost_types::Duration) {
        self.now = Timestamp::from_nanos(self.now.nanos() + by.seconds * 1_000_000_000 + i64::from(by.nanos));
    }

    /// Lets time pass, and wakes the workflow whenever it is due to wake up.
    fn wait(&mut self, by: &prost_types::Duration) -> Vec<String> {
        let from = self.now;
        self.move_clock(by);
        let until = std::mem::replace(&mut self.now, from);
        let mut lines = Vec::new();
        while let Some(wake) = next_wake_up(&self.workflow).filter(|wake| *wake <= until) {
            self.now = self.now.max(wake);
            let before = self.workflow.clone();
            lines.extend(self.decide(Input::of_chain(WakeUp)));
            assert!(before != self.workflow, "a wake-up that was due at {wake} changed nothing");
        }
        self.now = until;
        lines
    }

    fn decide(&mut self, input: Input) -> Vec<String> {
        if let Some(run_id) = needs(&self.workflow, &input) {
            self.workflow.absent.insert(run_id);
        }
        self.decided += 1;
        let env = Env {
            now: self.now,
            wall: WallClock::in_step(self.now),
            seed: self.decided,
            limits: &self.limits,
            namespace_id: "namespace-id",
            workflow_id: "wf",
        };
        let before = self.workflow.clone();
        let transition = match decide(&self.workflow, input, &env) {
            Ok(transition) => transition,
            Err(rejection) => return vec![format!("refused: {rejection:?}")],
        };
        for change in &transition.changes {
            let change = Change::decode(change.encode()).expect("a change decodes");
            self.folded.apply(&change).expect("a change applies");
        }
        self.workflow = transition.next;
        let has_changed = self.workflow != before;
        assert!(
            !has_changed || transition.is_volatile || !transition.changes.is_empty(),
            "a change that is not reported"
        );
        self.workflow.absent.clear();
        assert_eq!(self.folded, durable(&self.workflow), "the changes make something else");
        invariants(&self.workflow).expect("the invariants hold");
        self.meet_runs();
        let mut lines = self.answer(&transition.reply);
        lines.extend(self.new_events());
        lines
    }

    fn meet_runs(&mut self) {
        for run_id in self.workflow.runs.keys() {
            if !self.runs.iter().any(|known| known == run_id) {
                self.runs.push(run_id.to_owned());
            }
        }
    }

    fn answer(&mut self, reply: &Result<Reply, Rejection>) -> Vec<String> {
        let reply = match reply {
            Ok(reply) => reply,
            Err(rejection) => return vec![format!("refused, but: {rejection:?}")],
        };
        match reply {
            Reply::Done(()) | Reply::Run(_) => Vec::new(),
            Reply::ResetDone(ResetDone { run_id }) => vec![format!("reset to {run_id}")],
            // Scripts say of each new event in which run it is.
            Reply::Signalled(Signalled { run_id }) if self.workflow.chain.current_run_id == *run_id => Vec::new(),
            Reply::Signalled(Signalled { run_id }) => vec![format!("is in {run_id}")],
            Reply::Started(Started { run, started, eager, signalled }) => {
                if *eager {
                    self.take_task(run);
                }
                let how = if *started { "started" } else { "not started: uses" };
                let flags = [(*eager, ", eager"), (*signalled, ", signalled")];
                let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
                vec![format!("{how} {}{flags}", run.core.run_id)]
            }
            Reply::TaskTaken(TaskTaken::Started(run)) => vec![self.take_task(run)],
            Reply::ActivityTaken(ActivityTaken::Started { activity, .. }) => vec![show::attempt(activity)],
            Reply::TaskTaken(TaskTaken::Stale) | Reply::ActivityTaken(ActivityTaken::Stale) => vec!["stale".to_owned()],
            Reply::TaskCompleted(TaskCompleted { run, new_task, eager_activities, reset_to }) => {
                let mut lines: Vec<_> = eager_activities.iter().map(|activity| show::attempt(activity)).collect();
                lines.extend(reset_to.map(|event| format!("left no trace: go on from {event}")));
                if *new_task {
                    lines.push(self.take_task(run));
                }
                lines
            }
            Reply::HeartbeatNoted(HeartbeatNoted { cancel_requested }) => {
                vec![format!("heartbeat noted, cancel requested: {cancel_requested}")]
            }
        }
    }

    fn take_task(&mut self, run: &Run) -> String {
        let Some(task) = &run.task else { return "no task".to_owned() };
        self.task = (run.core.run_id.clone(), task.id());
        let unwritten = if task.is_written() { "" } else { ", not in the history" };
        let messages = execution::update_messages(run).into_iter().map(|message| {
            let Some(SequencingId::EventId(event)) = message.sequencing_id else { panic!("a message has no place") };
            format!(", carries {} after {event}", message.id)
        });
        let messages: String = messages.collect();
        let (scheduled, started, attempt) =
            (task.scheduled_event_id, task.started_event_id().unwrap_or(0), task.attempt);
        format!("task {scheduled}, started as {started}, attempt {attempt}{unwritten}{messages}")
    }

    /// The events that have not been shown, run by run in the order of their birth.
    fn new_events(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for run_id in self.runs.clone() {
            let Some(run) = self.workflow.runs.get(&run_id).cloned() else { continue };
            let shown = self.shown.insert(run_id.clone(), run.last_event_id()).unwrap_or(0);
            let events = run.batches.values().flat_map(|batch| batch.events());
            let mut fresh = events.filter(|event| event.event_id > shown).peekable();
            if fresh.peek().is_some() && self.runs.len() > 1 {
                lines.push(format!("in {run_id}:"));
            }
            for event in fresh {
                let at = event.event_time.expect("an event has a time");
                let words = render::event(&event, &since_start(at.seconds * 1_000_000_000 + i64::from(at.nanos)));
                lines.extend(render::wrapped(words.into_iter().map(|word| self.named(word))));
            }
        }
        lines
    }

    /// A generated id of a script's short name.
    pub fn run_id(&self, name: &str) -> String {
        let number: Option<usize> = name.strip_prefix('r').and_then(|number| number.parse().ok());
        number.and_then(|number| self.runs.get(number.wrapping_sub(1))).map_or(name, String::as_str).to_owned()
    }

    /// The run that a script means: the named one, or the current one.
    pub fn run(&self, words: &Words) -> Result<&Arc<Run>, String> {
        let run = words.get("run").map(|name| self.run_id(name));
        let run_id = run.unwrap_or_else(|| self.workflow.chain.current_run_id.clone());
        self.workflow.runs.get(&run_id).ok_or_else(|| format!("there is no run {run_id}"))
    }

    /// Replaces generated ids by short names.
    fn named(&mut self, line: String) -> String {
        let mut named = String::new();
        let mut rest = line.as_str();
        while let Some((before, id, after)) = next_uuid(rest) {
            named.push_str(before);
            if let Some(at) = self.runs.iter().position(|run| run == id) {
                named.push_str(&format!("r{}", at + 1));
            } else {
                let at = self.others.iter().position(|other| other == id).unwrap_or_else(|| {
                    self.others.push(id.to_owned());
                    self.others.len() - 1
                });
                named.push_str(&format!("u{}", at + 1));
            }
            rest = after;
        }
        named + rest
    }
}

/// What is left when memory is lost.
fn durable(workflow: &Workflow) -> Workflow {
    let runs = workflow.runs.values().map(|run| Arc::new(run.durable())).collect();
    Workflow { runs, ..workflow.clone() }
}

fn next_uuid(text: &str) -> Option<(&str, &str, &str)> {
    let is_uuid = |word: &str| {
        word.char_indices().all(|(at, c)| if [8, 13, 18, 23].contains(&at) { c == '-' } else { c.is_ascii_hexdigit() })
    };
    let at = (0..text.len()).find(|at| text.get(*at..at + 36).is_some_and(is_uuid))?;
    Some((&text[..at], &text[at..at + 36], &text[at + 36..]))
}
