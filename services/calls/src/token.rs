//! What tokens say inside. History and matching write and read these bytes as they are; the frontend seals every token on
//! its way out (authenticates it, with a key id) and opens it on its way in, so that nothing behind it sees a forged one.

/// Proof of having been given a workflow task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WorkflowTaskToken {
    /// The tenant; checked by the frontend against the request's.
    #[prost(string, tag = "1")]
    pub namespace_id: String,
    /// The workflow.
    #[prost(string, tag = "2")]
    pub workflow_id: String,
    /// The run.
    #[prost(string, tag = "3")]
    pub run_id: String,
    /// The task's WorkflowTaskScheduled event.
    #[prost(int64, tag = "4")]
    pub scheduled_event_id: i64,
    /// The task's WorkflowTaskStarted event.
    #[prost(int64, tag = "5")]
    pub started_event_id: i64,
    /// The attempt, from 1.
    #[prost(int32, tag = "6")]
    pub attempt: i32,
    /// Names the dispatch: rises each time a task is scheduled or dispatched again.
    #[prost(int64, tag = "7")]
    pub stamp: i64,
}

/// Proof of having been given an activity task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ActivityTaskToken {
    /// The tenant; checked by the frontend against the request's.
    #[prost(string, tag = "1")]
    pub namespace_id: String,
    /// The workflow.
    #[prost(string, tag = "2")]
    pub workflow_id: String,
    /// The run.
    #[prost(string, tag = "3")]
    pub run_id: String,
    /// The activity's ActivityTaskScheduled event.
    #[prost(int64, tag = "4")]
    pub scheduled_event_id: i64,
    /// The attempt, from 1.
    #[prost(int32, tag = "5")]
    pub attempt: i32,
    /// The activity id.
    #[prost(string, tag = "6")]
    pub activity_id: String,
}

/// Proof of having been given a query task.
#[derive(Clone, PartialEq, prost::Message)]
pub struct QueryTaskToken {
    /// The tenant; checked by the frontend against the request's.
    #[prost(string, tag = "1")]
    pub namespace_id: String,
    /// The task queue from which it was handed out.
    #[prost(string, tag = "2")]
    pub task_queue: String,
    /// Names the waiting query.
    #[prost(string, tag = "3")]
    pub query_id: String,
}

/// Where a history listing goes on. Also what a polled task's `next_page_token` says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HistoryPageToken {
    /// The tenant; checked by the frontend against the request's.
    #[prost(string, tag = "1")]
    pub namespace_id: String,
    /// The workflow.
    #[prost(string, tag = "2")]
    pub workflow_id: String,
    /// The run.
    #[prost(string, tag = "3")]
    pub run_id: String,
    /// The next event to show.
    #[prost(int64, tag = "4")]
    pub next_event_id: i64,
    /// The event after the last one to show; 0 while following a run to its end.
    #[prost(int64, tag = "5")]
    pub end_event_id: i64,
    /// For the task that a worker was given: the transient task whose events follow the last stored one.
    #[prost(message, optional, tag = "6")]
    pub task: Option<WorkflowTaskToken>,
    /// Whether the listing waits for new events.
    #[prost(bool, tag = "7")]
    pub wait: bool,
}
