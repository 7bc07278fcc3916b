//! A history that knows only which tasks are wanted and which have been started: all that matching can see of it.

use ids::TaskKey;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use calls::token::WorkflowTaskToken;
use calls::{
    CallContext, History, OfferedTask, RecordStart, RecordedStart, Relayed, ServiceError, ServiceResult, TaskStart,
};
use runtime::Runtime;

/// What befalls the next answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is lost before anything is recorded.
    LostBefore,
    /// The start is recorded and the answer lost.
    LostAfter,
    /// The node that was asked has no such shard.
    NotOwner,
}

#[derive(Default)]
struct Records {
    /// With the request id of the first.
    started: HashMap<TaskKey, (String, TaskStart)>,
    unwanted: HashSet<TaskKey>,
    next: Vec<Answer>,
    asked: Vec<(TaskKey, String)>,
    delay: Duration,
}

/// Records starts.
pub struct StartRecorder {
    runtime: Runtime,
    records: Mutex<Records>,
}

impl StartRecorder {
    pub fn new(runtime: Runtime) -> Self {
        Self { runtime, records: Mutex::default() }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().expect("no test panics under it")
    }

    /// The workflow goes on without this task.
    pub fn forget(&self, task: &TaskKey) {
        self.records().unwanted.insert(task.clone());
    }

    /// These befall the next answers, the first first.
    pub fn arrange(&self, answers: impl IntoIterator<Item = Answer>) {
        self.records().next = answers.into_iter().collect();
    }

    /// Every answer takes so long.
    pub fn delay(&self, delay: Duration) {
        self.records().delay = delay;
    }

    /// The poller that a task was started for.
    pub fn start_of(&self, task: &TaskKey) -> Option<TaskStart> {
        self.records().started.get(task).map(|(_, start)| start.clone())
    }

    /// How many tasks were started.
    pub fn started(&self) -> usize {
        self.records().started.len()
    }

    /// Under which request ids a start was asked for, each once.
    pub fn request_ids(&self, task: &TaskKey) -> HashSet<String> {
        self.records().asked.iter().filter(|(of, _)| of == task).map(|(_, id)| id.clone()).collect()
    }

    /// Whether the task was recorded for this request; otherwise it is stale.
    async fn record(&self, ctx: &CallContext, offered: &OfferedTask, start: TaskStart) -> ServiceResult<bool> {
        let (fate, delay) = {
            let mut records = self.records();
            records.asked.push((offered.key.clone(), ctx.request_id.to_string()));
            (if records.next.is_empty() { None } else { Some(records.next.remove(0)) }, records.delay)
        };
        let lost = || ServiceError::Unavailable("the answer was lost".to_owned());
        if fate == Some(Answer::NotOwner) {
            return Err(ServiceError::NotOwner("the shard of this workflow is moving".to_owned()));
        }
        if fate == Some(Answer::LostBefore) {
            return Err(lost());
        }
        if !delay.is_zero() {
            self.runtime.sleep(delay / 2).await;
        }
        let is_recorded = {
            let mut records = self.records();
            let is_wanted = !records.unwanted.contains(&offered.key);
            let this = (ctx.request_id.to_string(), start);
            is_wanted && records.started.entry(offered.key.clone()).or_insert(this).0 == *ctx.request_id
        };
        if !delay.is_zero() {
            self.runtime.sleep(delay / 2).await;
        }
        if fate == Some(Answer::LostAfter) { Err(lost()) } else { Ok(is_recorded) }
    }
}

fn execution(task: &TaskKey) -> WorkflowExecution {
    WorkflowExecution { workflow_id: task.workflow_id.as_str().to_owned(), run_id: task.run_id.as_str().to_owned() }
}

#[async_trait]
impl History for StartRecorder {
    async fn record_workflow_task_started(
        &self,
        ctx: &CallContext,
        RecordStart { task, start }: RecordStart,
    ) -> ServiceResult<RecordedStart<wire::PollWorkflowTaskQueueResponse>> {
        if !self.record(ctx, &task, start).await? {
            return Ok(RecordedStart::Stale);
        }
        let token = WorkflowTaskToken { scheduled_event_id: task.key.task.scheduled_event_id, ..Default::default() };
        Ok(RecordedStart::Started(Relayed::new(wire::PollWorkflowTaskQueueResponse {
            task_token: prost::Message::encode_to_vec(&token).into(),
            workflow_execution: Some(execution(&task.key)),
            attempt: task.key.task.attempt,
            ..Default::default()
        })))
    }

    async fn record_activity_task_started(
        &self,
        ctx: &CallContext,
        RecordStart { task, start }: RecordStart,
    ) -> ServiceResult<RecordedStart<wire::PollActivityTaskQueueResponse>> {
        if !self.record(ctx, &task, start).await? {
            return Ok(RecordedStart::Stale);
        }
        Ok(RecordedStart::Started(Relayed::new(wire::PollActivityTaskQueueResponse {
            task_token: b"token".as_slice().into(),
            workflow_execution: Some(execution(&task.key)),
            activity_id: task.key.task.scheduled_event_id.to_string(),
            priority: task.priority.clone(),
            ..Default::default()
        })))
    }
}
