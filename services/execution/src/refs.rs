//! How runs, and their tasks, are named.

/// Which run is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunRef {
    /// None in particular: the workflow ID with all its runs.
    Chain,
    /// The newest.
    Current,
    /// The one with this id.
    Run(String),
}

/// As the API names runs: an empty id means the current one.
impl From<String> for RunRef {
    fn from(run_id: String) -> Self {
        if run_id.is_empty() { Self::Current } else { Self::Run(run_id) }
    }
}

impl From<&str> for RunRef {
    fn from(run_id: &str) -> Self {
        run_id.to_owned().into()
    }
}

/// A dispatched task of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskId {
    /// The event that scheduled it.
    pub scheduled_event_id: i64,
    /// The attempt.
    pub attempt: i32,
    /// The dispatch; for an activity, 0.
    pub stamp: i64,
}
