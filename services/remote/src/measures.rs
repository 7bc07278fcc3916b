//! What is counted of calls between nodes.

use cluster::ServiceError;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Makes the enum, and its names in metrics, out of one table.
macro_rules! methods {
    ($($method:ident = $name:literal,)*) => {
        /// A method of history or matching.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Method {
            $($method),*
        }

        impl Method {
            const NAMES: &[&str] = &[$($name),*];
        }
    };
}

methods! {
    StartWorkflow = "history/start_workflow",
    SignalWithStart = "history/signal_with_start",
    SignalWorkflow = "history/signal_workflow",
    RequestCancel = "history/request_cancel",
    TerminateWorkflow = "history/terminate_workflow",
    DescribeWorkflow = "history/describe_workflow",
    GetHistory = "history/get_history",
    GetHistoryReverse = "history/get_history_reverse",
    QueryWorkflow = "history/query_workflow",
    ResetStickyTaskQueue = "history/reset_sticky_task_queue",
    CompleteWorkflowTask = "history/complete_workflow_task",
    FailWorkflowTask = "history/fail_workflow_task",
    HeartbeatActivity = "history/heartbeat_activity",
    CompleteActivity = "history/complete_activity",
    FailActivity = "history/fail_activity",
    CancelActivity = "history/cancel_activity",
    RecordWorkflowTaskStarted = "history/record_workflow_task_started",
    RecordActivityTaskStarted = "history/record_activity_task_started",
    TellWorkflow = "history/tell_workflow",
    DumpWorkflow = "history/dump_workflow",
    Offer = "matching/offer",
    Query = "matching/query",
    PollWorkflowTaskQueue = "matching/poll_workflow_task_queue",
    PollActivityTaskQueue = "matching/poll_activity_task_queue",
    PollNexusTaskQueue = "matching/poll_nexus_task_queue",
    RespondQueryTaskCompleted = "matching/respond_query_task_completed",
    DescribeTaskQueue = "matching/describe_task_queue",
    ShutdownWorker = "matching/shutdown_worker",
}

/// Why a call is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The ring names no owner.
    NoOwner,
    /// The one who was asked is not the owner, or could not be reached.
    NotOwner,
    /// The ring gave the shard to another while the call was out.
    Moved,
    /// The owner is too busy, or its store away.
    Unavailable,
}

impl Reason {
    const NAMES: [&str; 4] = ["no_owner", "not_owner", "moved", "unavailable"];
}

/// The metrics, looked up once.
pub(crate) struct Measures {
    pub(crate) peers: Gauge,
    methods: Vec<MethodMeasures>,
}

/// The metrics of one method, as its caller sees it.
pub(crate) struct MethodMeasures {
    answered: Counter,
    refused: Counter,
    not_owner: Counter,
    unreachable: Counter,
    in_flight: Gauge,
    seconds: Histogram,
    retries: [Counter; 4],
}

impl Measures {
    pub(crate) fn new() -> Self {
        Self {
            peers: gauge!("outlast_remote_peers"),
            methods: Method::NAMES.iter().map(|name| MethodMeasures::new(name)).collect(),
        }
    }

    pub(crate) fn of(&self, method: Method) -> &MethodMeasures {
        &self.methods[method as usize]
    }
}

impl MethodMeasures {
    fn new(method: &'static str) -> Self {
        let calls = |outcome| counter!("outlast_remote_calls_total", "method" => method, "outcome" => outcome);
        Self {
            answered: calls("answered"),
            refused: calls("refused"),
            not_owner: calls("not_owner"),
            unreachable: calls("unreachable"),
            in_flight: gauge!("outlast_remote_calls_in_flight", "method" => method),
            seconds: histogram!("outlast_remote_call_seconds", "method" => method),
            retries: Reason::NAMES
                .map(|reason| counter!("outlast_remote_retries_total", "method" => method, "reason" => reason)),
        }
    }

    /// A call is tried again.
    pub(crate) fn retried(&self, reason: Reason) {
        self.retries[reason as usize].increment(1);
    }

    /// A call goes out.
    pub(crate) fn sent(&self) -> InFlight<'_> {
        self.in_flight.increment(1);
        InFlight(self)
    }
}

/// A call that is out. Dropped, it no longer is, however it ended.
pub(crate) struct InFlight<'a>(&'a MethodMeasures);

impl InFlight<'_> {
    /// It was not answered: its peer could not be reached, or the connection broke.
    pub(crate) fn unreachable(&self) {
        self.0.unreachable.increment(1);
    }

    /// It was answered, after so many seconds.
    pub(crate) fn answered<T>(&self, result: &Result<T, ServiceError>, seconds: f64) {
        self.0.seconds.record(seconds);
        match result {
            Ok(_) => self.0.answered.increment(1),
            Err(ServiceError::NotOwner(_)) => self.0.not_owner.increment(1),
            Err(_) => self.0.refused.increment(1),
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.decrement(1);
    }
}
