//! What a step costs, and what a workflow holds, without a server around it: `cargo run --release -p execution --example steps`.
//!
//! A step is all that a shard asks of this crate for an input: to decide, to encode the changes, and what follows from the
//! state: what is owed, the next wake-up, the weight.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "an example that measures real time"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use allocated::allocated;
use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::command::v1::{
    Command, CompleteWorkflowExecutionCommandAttributes, ScheduleActivityTaskCommandAttributes,
};
use api::temporal::api::common::v1::{ActivityType, Payload, Payloads, WorkflowType};
use api::temporal::api::enums::v1::CommandType;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1::{RespondWorkflowTaskCompletedRequest, StartWorkflowExecutionRequest};
use execution::{
    ActivityResult, ActivitySelector, CompleteActivity, CompleteWorkflowTask, Env, Heartbeat, Input, Limits, Signal,
    Start, StartActivity, StartTask, StartWorkflowTask, Workflow, decide, next_wake_up, owed_changes,
};
use ids::{TaskRef, Timestamp, WallClock};

#[global_allocator]
static ALLOCATOR: allocated::Counting = allocated::Counting;

/// The least of so many measurements counts.
const ROUNDS: usize = 7;

/// What a shard does with a step; the state after it.
fn step(workflow: Workflow, input: Input, number: u128) -> Workflow {
    let limits = Limits::default();
    let now = Timestamp::from_millis(1_767_225_600_000 + number as i64);
    let (wall, seed) = (WallClock::in_step(now), number.wrapping_mul(0x1234_5678_9abc_def1_2345_6789_abcd_ef12));
    let env = Env { now, wall, seed, limits: &limits, namespace_id: "namespace-id", workflow_id: "wf" };
    let decided = decide(&workflow, input, &env).expect("the input is sound");
    for change in &decided.changes {
        black_box(change.encode());
    }
    black_box(owed_changes(&workflow, &decided.next));
    black_box(next_wake_up(&decided.next));
    black_box(decided.next.held_bytes());
    decided.next
}

struct Steps {
    workflow: Workflow,
    number: u128,
}

impl Steps {
    fn say(&mut self, input: Input) {
        self.number += 1;
        self.workflow = step(std::mem::take(&mut self.workflow), input, self.number);
    }

    fn run_id(&self) -> String {
        self.workflow.chain.current_run_id.clone()
    }

    fn started() -> Self {
        let mut steps = Self { workflow: Workflow::default(), number: 0 };
        let request = StartWorkflowExecutionRequest {
            namespace: "default".to_owned(),
            workflow_id: "wf".to_owned(),
            workflow_type: Some(WorkflowType { name: "Work".to_owned() }),
            task_queue: Some(TaskQueue { name: "q".to_owned(), ..TaskQueue::default() }),
            input: payloads(),
            request_id: "018f2b1c-1111-7222-8333-444455556666".to_owned(),
            identity: "1234@caller.example".to_owned(),
            ..StartWorkflowExecutionRequest::default()
        };
        steps.say(Input::of_chain(Start { request, parent: None, signal: None, update: None }));
        steps
    }

    fn complete_task(&mut self, commands: Vec<Command>) {
        let run = self.workflow.current().expect("it is started");
        let task = run.task.as_ref().expect("a task is scheduled").id();
        self.say(Input::new(self.run_id(), StartWorkflowTask(taken(task))));
        let request = RespondWorkflowTaskCompletedRequest { commands, ..Default::default() };
        self.say(Input::new(self.run_id(), CompleteWorkflowTask { task, request, more_wanted: false }));
    }

    /// A run that waits for so many activities, of which the first is started.
    fn waiting(pending: usize) -> Self {
        let mut steps = Self::started();
        steps.complete_task((0..pending).map(schedule).collect());
        steps.start_activity(5);
        steps
    }

    fn start_activity(&mut self, scheduled_event_id: i64) {
        let task = TaskRef { scheduled_event_id, attempt: 1, stamp: 0 };
        self.say(Input::new(self.run_id(), StartActivity(taken(task))));
    }

    fn signal(&mut self) {
        let signal = Signal {
            request_id: format!("{:036}", self.number),
            name: "poke".to_owned(),
            input: payloads(),
            ..Signal::default()
        };
        self.say(Input::new(self.run_id(), signal));
    }

    /// A workflow with one activity, from its start to its end.
    fn whole() -> Self {
        let mut steps = Self::started();
        steps.complete_task(vec![schedule(0)]);
        steps.start_activity(5);
        steps.say(Input::new(steps.run_id(), CompleteActivity(result())));
        let completed = CompleteWorkflowExecutionCommandAttributes { result: payloads() };
        steps.complete_task(vec![Command {
            command_type: CommandType::CompleteWorkflowExecution as i32,
            attributes: Some(Attributes::CompleteWorkflowExecutionCommandAttributes(completed)),
            ..Command::default()
        }]);
        steps
    }
}

fn payloads() -> Option<Payloads> {
    let metadata = [("encoding".to_owned(), "json/plain".into())].into();
    Some(Payloads { payloads: vec![Payload { metadata, data: vec![b'7'; 64].into(), ..Payload::default() }] })
}

fn schedule(number: usize) -> Command {
    let attributes = ScheduleActivityTaskCommandAttributes {
        activity_id: number.to_string(),
        activity_type: Some(ActivityType { name: "Act".to_owned() }),
        input: payloads(),
        start_to_close_timeout: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..ScheduleActivityTaskCommandAttributes::default()
    };
    Command {
        command_type: CommandType::ScheduleActivityTask as i32,
        attributes: Some(Attributes::ScheduleActivityTaskCommandAttributes(attributes)),
        ..Command::default()
    }
}

fn taken(task: TaskRef) -> StartTask {
    let identity = "1234@worker.example".to_owned();
    StartTask { task, request_id: "018f2b1c-1111-7222-8333-777788889999".to_owned(), identity, worker_version: None }
}

fn result() -> ActivityResult<Option<Payloads>> {
    let activity = ActivitySelector::Attempt { scheduled_event_id: 5, attempt: 1 };
    ActivityResult { activity, identity: "1234@worker.example".to_owned(), worker_version: None, outcome: payloads() }
}

/// The least time that so many steps take from such a state, for each.
fn least(from: impl Fn() -> Steps, count: u32, mut act: impl FnMut(&mut Steps)) -> Duration {
    let measure = |_| {
        let mut steps = from();
        let begun = Instant::now();
        (0..count).for_each(|_| act(&mut steps));
        begun.elapsed() / count
    };
    (0..ROUNDS).map(measure).min().unwrap_or_default()
}

fn main() {
    // For a count of instructions: `valgrind --tool=callgrind steps whole`.
    if std::env::args().nth(1).as_deref() == Some("whole") {
        return (0..500).for_each(|_| drop(black_box(Steps::whole())));
    }
    for pending in [10, 2_000] {
        let heartbeat = |steps: &mut Steps| steps.say(Input::new(steps.run_id(), Heartbeat(result())));
        println!("a heartbeat, {pending} activities pending: {:?}", least(|| Steps::waiting(pending), 200, heartbeat));
    }
    for pending in [10, 2_000] {
        let schedule = least(Steps::started, 1, |steps| steps.complete_task((0..pending).map(schedule).collect()));
        println!("scheduling {pending} activities: {schedule:?}");
    }
    for signals in [100, 9_800] {
        let signalled = || {
            let mut steps = Steps::started();
            (0..signals).for_each(|_| steps.signal());
            steps
        };
        println!("a signal to a run that has had {signals}: {:?}", least(signalled, 100, Steps::signal));
    }
    let whole = least(Steps::started, 500, |_| drop(black_box(Steps::whole())));
    let (_, held) = allocated(Steps::whole);
    println!("a workflow with one activity: {whole:?}, {} bytes held at its end", held.held);
}
