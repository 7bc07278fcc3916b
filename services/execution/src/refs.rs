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
