//! The chain of runs of a workflow ID: which run is current, and which requests have been seen. It outlives every run.

use std::collections::BTreeMap;

use api::temporal::api::enums::v1::WorkflowExecutionStatus;

/// What is remembered of a workflow ID beyond its runs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Chain {
    /// The newest run; empty before the first.
    #[prost(string, tag = "1")]
    pub current_run_id: String,
    /// The first run of its chain (continue-as-new, retry and cron continue a chain; a new start begins one).
    #[prost(string, tag = "2")]
    pub first_run_id: String,
    /// The newest run's status.
    #[prost(enumeration = "WorkflowExecutionStatus", tag = "3")]
    pub current_status: i32,
    /// The request that started the newest chain.
    #[prost(string, tag = "4")]
    pub start_request_id: String,
    /// Seen start, signal and cancel requests, prefixed by kind, and the run that each went to. Bounded; the oldest go
    /// first.
    #[prost(btree_map = "string, message", tag = "5")]
    pub requests: BTreeMap<String, SeenRequest>,
    /// The order of the last seen request.
    #[prost(uint64, tag = "6")]
    pub last_order: u64,
    /// Runs that must be in memory: the open one, and closed ones that still owe something.
    #[prost(string, repeated, tag = "7")]
    pub live_runs: Vec<String>,
}

/// A request that was carried out.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SeenRequest {
    /// The run.
    #[prost(string, tag = "1")]
    pub run_id: String,
    /// When, counted in requests.
    #[prost(uint64, tag = "2")]
    pub order: u64,
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
    /// The run that a request of this kind and id went to.
    pub fn seen(&self, kind: &str, request_id: &str) -> Option<&str> {
        if request_id.is_empty() {
            return None;
        }
        self.requests.get(&request_key(kind, request_id)).map(|seen| seen.run_id.as_str())
    }

    /// Makes a fact so.
    pub(crate) fn apply(&mut self, fact: &ChainFact) {
        match &fact.fact {
            Some(ChainMove::Current(current)) => {
                self.current_run_id.clone_from(&current.run_id);
                self.first_run_id.clone_from(&current.first_run_id);
                self.start_request_id.clone_from(&current.start_request_id);
                self.current_status = current.status;
                let open = current.status == WorkflowExecutionStatus::Running as i32;
                if open && !self.live_runs.contains(&current.run_id) {
                    self.live_runs.push(current.run_id.clone());
                }
            }
            Some(ChainMove::Seen(seen)) => self.remember(seen),
            Some(ChainMove::Finished(run_id)) => self.live_runs.retain(|live| live != run_id),
            None => {}
        }
    }

    fn remember(&mut self, seen: &Seen) {
        self.last_order += 1;
        let entry = SeenRequest { run_id: seen.run_id.clone(), order: self.last_order };
        self.requests.insert(seen.request.clone(), entry);
        // Drops a quarter at a time, so that the search for the oldest is rare.
        let keep = seen.keep.max(1) as usize;
        if self.requests.len() > keep {
            let horizon = self.last_order.saturating_sub(keep as u64 * 3 / 4);
            self.requests.retain(|_, seen| seen.order > horizon);
        }
    }
}

/// How a request is remembered.
pub(crate) fn request_key(kind: &str, request_id: &str) -> String {
    format!("{kind}/{request_id}")
}
