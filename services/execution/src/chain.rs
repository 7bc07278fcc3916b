//! The chain of runs of a workflow ID: which run is current, and which requests have been seen. It outlives every run.

use api::Held;
use api::temporal::api::enums::v1::WorkflowExecutionStatus;

use crate::requests::SeenRequests;

/// What is remembered of a workflow ID beyond its runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    /// The newest run; empty before the first.
    pub current_run_id: String,
    /// The first run of its chain (continue-as-new, retry and cron continue a chain; a new start begins one).
    pub first_run_id: String,
    /// The newest run's status, a [`WorkflowExecutionStatus`].
    pub current_status: i32,
    /// The request that started the newest chain.
    pub start_request_id: String,
    /// Starts and signals that were carried out: those of callers while the chain is the newest, those of other workflows
    /// for longer.
    pub requests: SeenRequests,
    /// Runs that must be in memory: the open one, and closed ones that still owe something.
    pub live_runs: Vec<String>,
}

/// A fact about the chain.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChainFact {
    /// The fact.
    #[prost(oneof = "ChainMove", tags = "1, 2, 3")]
    pub fact: Option<ChainMove>,
}

/// What can happen to the chain.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ChainMove {
    /// A run is now the current one.
    #[prost(message, tag = "1")]
    Current(Current),
    /// A request was carried out.
    #[prost(message, tag = "2")]
    Seen(Seen),
    /// A run owes nothing any more and may leave memory.
    #[prost(string, tag = "3")]
    Finished(String),
}

/// A run is now the current one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Current {
    /// The run.
    #[prost(string, tag = "1")]
    pub run_id: String,
    /// The first run of its chain.
    #[prost(string, tag = "2")]
    pub first_run_id: String,
    /// The request that started the chain.
    #[prost(string, tag = "3")]
    pub start_request_id: String,
    /// The status.
    #[prost(enumeration = "WorkflowExecutionStatus", tag = "4")]
    pub status: i32,
}

/// A request was carried out.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Seen {
    /// The request, prefixed by kind.
    #[prost(string, tag = "1")]
    pub request: String,
    /// The run that it went to.
    #[prost(string, tag = "2")]
    pub run_id: String,
    /// How many requests to keep.
    #[prost(uint64, tag = "3")]
    pub keep: u64,
}

impl Chain {
    /// Bytes on the heap.
    pub(crate) fn held_bytes(&self) -> usize {
        let texts = [&self.current_run_id, &self.first_run_id, &self.start_request_id];
        let texts: usize = texts.into_iter().map(Held::heap_bytes).sum();
        texts + self.live_runs.heap_bytes() + self.requests.held_bytes()
    }

    /// Makes a fact so.
    pub(crate) fn apply(&mut self, fact: &ChainFact) {
        match &fact.fact {
            Some(ChainMove::Current(current)) => {
                if self.first_run_id != current.first_run_id {
                    self.requests.begin_chain();
                }
                self.current_run_id.clone_from(&current.run_id);
                self.first_run_id.clone_from(&current.first_run_id);
                self.start_request_id.clone_from(&current.start_request_id);
                self.current_status = current.status;
                let open = current.status == WorkflowExecutionStatus::Running as i32;
                if open && !self.live_runs.contains(&current.run_id) {
                    self.live_runs.push(current.run_id.clone());
                }
            }
            Some(ChainMove::Seen(seen)) => self.requests.remember(&seen.request, &seen.run_id, seen.keep as usize),
            Some(ChainMove::Finished(run_id)) => self.live_runs.retain(|live| live != run_id),
            None => {}
        }
    }
}
