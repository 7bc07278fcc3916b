//! Recovery as a law: whatever a checkpoint managed to write before a crash, rows and log together give back the live state
//! and the whole history of every run. What was written without an acknowledgement lies on one replica of three, and any
//! replica may be lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::temporal::api::command::v1::Command;
use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::command::v1::{
    CompleteWorkflowExecutionCommandAttributes, ContinueAsNewWorkflowExecutionCommandAttributes,
    RecordMarkerCommandAttributes,
};
use api::temporal::api::common::v1::WorkflowType;
use api::temporal::api::enums::v1::{CommandType, EventType, WorkflowIdConflictPolicy};
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::history::v1::history_event::Attributes as HistoryAttributes;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1::{RespondWorkflowTaskCompletedRequest, StartWorkflowExecutionRequest};
use bytes::Bytes;
use entities::{EntityKey, Env, Kind, Refusal, Resident, RowAddress};
use execution::{
    Ancestor, Change, CompleteWorkflowTask, Input, Limits, Read, Reapply, Replay, Reset, Run, RunRef, Signal, Start,
    StartTask, StartWorkflowTask, Terminate,
};
use ids::{Timestamp, WallClock};
use storage::{PartitionWrite, Row, Seq, Version};

use super::{WorkflowKind, decode_history, rows};

/// Rows as one replica keeps them: the highest version wins.
#[derive(Clone, Default)]
struct Replica(BTreeMap<(Bytes, Bytes), Row>);

impl Replica {
    fn offer(&mut self, at: &(Bytes, Bytes), new: &Row) {
        if self.0.get(at).is_none_or(|row| row.version <= new.version) {
            self.0.insert(at.clone(), new.clone());
        }
    }

    fn write(&mut self, write: &PartitionWrite) {
        for (key, value) in &write.puts {
            let row = Row { key: key.clone(), value: value.clone(), version: write.version };
            self.offer(&(write.partition.clone(), key.clone()), &row);
        }
    }
}

/// Three replicas. Whatever is acknowledged is on two of them at least; reads ask two, and repair what they read.
#[derive(Default)]
struct Table {
    replicas: [Replica; 3],
}

impl Table {
    /// Leaves out the replica `out`.
    fn write_all_but(&mut self, out: usize, write: &PartitionWrite) {
        let others = self.replicas.iter_mut().enumerate().filter(|(index, _)| *index != out);
        others.for_each(|(_, replica)| replica.write(write));
    }

    /// Rows of two replicas, which both have afterwards.
    fn read(&mut self, out: usize, wanted: impl Fn(&(Bytes, Bytes)) -> bool) -> BTreeMap<(Bytes, Bytes), Row> {
        let asked = || (0..3).filter(|index| *index != out);
        let mut found = Replica::default();
        for index in asked() {
            self.replicas[index].0.iter().filter(|(at, _)| wanted(at)).for_each(|(at, row)| found.offer(at, row));
        }
        for index in asked() {
            found.0.iter().for_each(|(at, row)| self.replicas[index].offer(at, row));
        }
        found.0
    }

    fn get(&mut self, out: usize, address: &RowAddress) -> Option<Row> {
        let wanted = (address.partition.clone(), address.key.clone());
        self.read(out, |at| *at == wanted).remove(&wanted)
    }

    /// A run's events, row by row.
    fn history(&mut self, out: usize, partition: &Bytes) -> Vec<Vec<HistoryEvent>> {
        let rows = self.read(out, |(at, key)| at == partition && key.starts_with(b"h"));
        rows.into_values().map(|row| decode_history(row.value).unwrap().events).collect()
    }

    /// A replica's disk is gone; another takes its place with what the others have.
    fn lose(&mut self, lost: usize) {
        let mut place = Replica::default();
        for other in (0..3).filter(|index| *index != lost) {
            self.replicas[other].0.iter().for_each(|(at, row)| place.offer(at, row));
        }
        self.replicas[lost] = place;
    }
}

/// One workflow ID with its log and rows, as a shard treats it.
struct Model {
    kind: Arc<WorkflowKind>,
    key: EntityKey,
    workflow: Resident<WorkflowKind>,
    table: Table,
    log: Vec<(Version, Change)>,
    seq: Version,
    /// What a checkpoint took and no write has acknowledged.
    taken: Option<(Version, Vec<PartitionWrite>)>,
    /// All events ever, by run.
    truth: BTreeMap<String, Vec<HistoryEvent>>,
    dice: u64,
    now: i64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let kind = Arc::new(WorkflowKind::new(Limits::default()));
        let key = EntityKey::of::<WorkflowKind>("n", "w");
        let workflow = Resident::load(Arc::clone(&kind), &key, &[], |_| None).unwrap();
        Self {
            kind,
            key,
            workflow,
            table: Table::default(),
            log: Vec::new(),
            seq: 0,
            taken: None,
            truth: BTreeMap::new(),
            dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now: 1_000_000_000,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) % sides
    }

    fn step(&mut self, mut input: Input) {
        self.now += 1_000_000_000;
        let now = Timestamp::from_nanos(self.now);
        let env = Env { now, wall: WallClock::in_step(now), seed: u128::from(self.roll(u64::MAX)) << 3 };
        loop {
            match self.workflow.step(&self.key, input, &env) {
                Ok(transition) => {
                    if !transition.changes.is_empty() {
                        self.seq += 1;
                    }
                    for change in transition.changes {
                        if let Change::Run(run) = &change {
                            let events: Vec<_> = run.batch.iter().flat_map(|batch| batch.events()).collect();
                            if run.forks() {
                                self.truth.insert(run.run_id.clone(), self.shared(&events));
                            }
                            self.truth.entry(run.run_id.clone()).or_default().extend(events);
                        }
                        self.log.push((self.seq, change));
                    }
                    return;
                }
                Err(Refusal::Rejected(_)) => return,
                Err(Refusal::Needs(_, again)) => {
                    let found = self.workflow.needs(&self.key).iter().map(|address| self.read_row(address)).collect();
                    self.workflow.supply(&self.key, found).unwrap();
                    input = again;
                }
            }
        }
    }

    /// What a run that a reset has made has of another, beside these events of its own.
    fn shared(&self, own: &[HistoryEvent]) -> Vec<HistoryEvent> {
        let base = own.iter().rev().find_map(|event| match &event.attributes {
            Some(HistoryAttributes::WorkflowTaskFailedEventAttributes(failed)) if !failed.base_run_id.is_empty() => {
                Some(&failed.base_run_id)
            }
            _ => None,
        });
        let before = |event: &&HistoryEvent| event.event_id < own[0].event_id;
        self.truth[base.unwrap()].iter().take_while(before).cloned().collect()
    }

    /// A reset of any run to any of its workflow tasks. What is stored of the history is shared.
    fn reset(&mut self) -> Option<Input> {
        let at = self.roll(self.truth.len().max(1) as u64) as usize;
        let run_id = self.truth.keys().nth(at)?.clone();
        let truth = self.truth[&run_id].clone();
        let is_start = |event: &&HistoryEvent| event.event_type() == EventType::WorkflowTaskStarted;
        let starts: Vec<i64> = truth.iter().filter(is_start).map(|event| event.event_id).collect();
        let finish = *starts.get(self.roll(starts.len().max(1) as u64) as usize)? + 1;
        let run = self.run(&run_id);
        let in_memory = run.first_event_in_memory();
        let shared_end = if finish > in_memory {
            Some(in_memory)
        } else {
            let own = self.read_history(&rows::run_partition(&self.key, &run_id));
            let firsts = own.iter().map(|events| events[0].event_id);
            firsts.filter(|first| *first < finish).chain(run.core.ancestors.iter().map(|of| of.end_event_id)).max()
        }
        .filter(|end| *end < finish);
        let mut past = Replay::new(finish, shared_end.unwrap_or(1));
        truth.into_iter().for_each(|event| past.read(event).unwrap());
        let reapply = Reapply { signals: false, updates: false };
        Some(Input::new(run_id, Reset { past, reapply, ..Reset::default() }))
    }

    fn act(&mut self) {
        let current = self.workflow.state().chain.current_run_id.clone();
        let task = self.workflow.state().current().and_then(|run| run.task.clone());
        let input = match (self.roll(10), task) {
            (0, _) => Input::new(RunRef::Current, Terminate::default()),
            (1 | 2, _) => Input::new(RunRef::Current, Signal { name: "go".to_owned(), ..Signal::default() }),
            (3, _) if self.roll(2) == 0 => match self.reset() {
                Some(reset) => reset,
                None => return,
            },
            (3, _) => {
                // A caller asks for an old run.
                let run_id = self.truth.keys().next().cloned().unwrap_or_default();
                Input::new(run_id, Read)
            }
            (_, Some(task)) if !task.is_started() => {
                Input::new(current, StartWorkflowTask(StartTask { task: task.id(), ..StartTask::default() }))
            }
            (roll, Some(task)) => {
                let command = match roll {
                    4 => complete(),
                    5 | 6 => continue_as_new(),
                    _ => marker(),
                };
                let complete = CompleteWorkflowTask {
                    task: task.id(),
                    request: RespondWorkflowTaskCompletedRequest { commands: vec![command], ..Default::default() },
                    more_wanted: false,
                };
                Input::new(current, complete)
            }
            (4 | 5, None) => Input::new(RunRef::Current, Signal { name: "go".to_owned(), ..Signal::default() }),
            (_, None) => start(self.roll(u64::MAX)),
        };
        self.step(input);
    }

    fn take(&mut self) {
        if self.taken.is_some() {
            return;
        }
        let writes = self.workflow.take_dirty(&self.key, self.seq);
        if !writes.is_empty() {
            self.taken = Some((self.seq, writes));
        }
    }

    /// Some of what was taken reaches the table; all of it if it is to be acknowledged.
    fn write(&mut self, acknowledge: bool) {
        let Some((version, writes)) = self.taken.take() else { return };
        for write in &writes {
            let one = self.replica();
            if acknowledge {
                self.table.write_all_but(one, write);
            } else if self.roll(2) == 0 {
                self.table.replicas[one].write(write);
            }
        }
        if acknowledge {
            self.workflow.written();
            if self.roll(2) == 0 {
                self.log.retain(|(seq, _)| *seq > version);
            }
        } else {
            self.taken = Some((version, writes));
        }
    }

    fn crash(&mut self) {
        self.taken = None;
        let tail: Vec<_> = self.log.iter().map(|(seq, change)| (Seq(*seq), self.kind.encode_change(change))).collect();
        let (kind, key) = (Arc::clone(&self.kind), self.key.clone());
        self.workflow = Resident::load(kind, &key, &tail, |address| self.read_row(address)).unwrap();
    }

    /// All runs, without that part of their history that happens to be in memory.
    fn runs(&mut self) -> Vec<Run> {
        let ids: Vec<String> = self.truth.keys().cloned().collect();
        let without_history = |id: &String| {
            let mut run = self.run(id);
            run.batches.clear();
            run
        };
        ids.iter().map(without_history).collect()
    }

    fn replica(&mut self) -> usize {
        self.roll(3) as usize
    }

    fn read_row(&mut self, address: &RowAddress) -> Option<Row> {
        let out = self.replica();
        self.table.get(out, address)
    }

    fn read_history(&mut self, partition: &Bytes) -> Vec<Vec<HistoryEvent>> {
        let out = self.replica();
        self.table.history(out, partition)
    }

    /// A run as the state has it, or its row.
    fn run(&mut self, run_id: &str) -> Run {
        match self.workflow.state().runs.get(run_id) {
            Some(run) => (**run).clone(),
            None => {
                let row = self.read_row(&rows::run_address(&self.key, run_id));
                rows::decode_run(&row.unwrap_or_else(|| panic!("run {run_id} is lost")).value).unwrap()
            }
        }
    }

    fn check_histories(&mut self) {
        for (run_id, truth) in &self.truth.clone() {
            let run = self.run(run_id);
            let in_memory = run.first_event_in_memory();
            let own = Ancestor { run_id: run_id.clone(), end_event_id: in_memory };
            let mut events: Vec<HistoryEvent> = Vec::new();
            for of in run.core.ancestors.iter().chain([&own]) {
                let (from, end) = (events.len() as i64 + 1, of.end_event_id.min(in_memory));
                let stored = self.read_history(&rows::run_partition(&self.key, &of.run_id)).concat();
                events.extend(stored.into_iter().filter(|event| (from..end).contains(&event.event_id)));
            }
            events.extend(run.batches.values().flat_map(|batch| batch.events()));
            assert_eq!(&events, truth, "the history of run {run_id}");
            assert!(run.batches.values().all(|batch| batch.first_event_id < run.core.next_event_id));
            assert_eq!(run.last_event_id(), truth.len() as i64);
        }
    }
}

fn start(request: u64) -> Input {
    let request = StartWorkflowExecutionRequest {
        workflow_id: "w".to_owned(),
        workflow_type: Some(WorkflowType { name: "kind".to_owned() }),
        task_queue: Some(TaskQueue { name: "q".to_owned(), ..TaskQueue::default() }),
        request_id: request.to_string(),
        workflow_id_conflict_policy: WorkflowIdConflictPolicy::TerminateExisting as i32,
        ..Default::default()
    };
    Input::of_chain(Start { request, parent: None, signal: None, update: None })
}

fn command(kind: CommandType, attributes: Attributes) -> Command {
    Command { command_type: kind as i32, attributes: Some(attributes), ..Command::default() }
}

fn marker() -> Command {
    let attributes = RecordMarkerCommandAttributes { marker_name: "m".to_owned(), ..Default::default() };
    command(CommandType::RecordMarker, Attributes::RecordMarkerCommandAttributes(attributes))
}

fn complete() -> Command {
    let attributes = CompleteWorkflowExecutionCommandAttributes::default();
    command(CommandType::CompleteWorkflowExecution, Attributes::CompleteWorkflowExecutionCommandAttributes(attributes))
}

fn continue_as_new() -> Command {
    let attributes = ContinueAsNewWorkflowExecutionCommandAttributes {
        workflow_type: Some(WorkflowType { name: "kind".to_owned() }),
        task_queue: Some(TaskQueue { name: "q".to_owned(), ..TaskQueue::default() }),
        ..Default::default()
    };
    command(
        CommandType::ContinueAsNewWorkflowExecution,
        Attributes::ContinueAsNewWorkflowExecutionCommandAttributes(attributes),
    )
}

#[test]
fn rows_and_log_give_back_state_and_history_whatever_a_checkpoint_managed_to_write_and_whichever_replica_is_lost() {
    let mut shared = 0;
    for seed in 1..400 {
        let mut model = Model::new(seed);
        for _ in 0..80 {
            match model.roll(13) {
                0 | 1 => model.take(),
                2 => model.write(true),
                3 => model.write(false),
                4 => {
                    let chain = model.workflow.state().chain.clone();
                    let before = model.runs();
                    model.crash();
                    assert_eq!(model.workflow.state().chain, chain, "seed {seed}");
                    assert_eq!(model.runs(), before, "seed {seed}");
                    model.check_histories();
                }
                5 => {
                    let lost = model.replica();
                    model.table.lose(lost);
                    model.check_histories();
                }
                _ => model.act(),
            }
        }
        model.check_histories();
        assert!(model.truth.len() > 1, "seed {seed} has seen one run only");
        shared += model.workflow.state().runs.values().filter(|run| !run.core.ancestors.is_empty()).count();
    }
    assert!(shared > 20, "{shared} runs share events");
}
