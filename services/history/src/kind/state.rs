//! A workflow ID in memory, with what is known about its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use execution::{Change, Run, RunChange, Workflow};
use storage::Version;

/// Payloads and events take about this much memory per encoded byte.
const EXPANSION: usize = 2;
/// A pending activity, timer, child, … without its payloads.
const PENDING_BYTES: usize = 1024;
/// A request that is remembered, without its id and the run's.
const REQUEST_BYTES: usize = 64;
/// A run or chain without anything in it.
const EMPTY_BYTES: usize = 2048;

/// What a shard holds of one workflow ID.
pub struct WorkflowState {
    /// The value that decisions are made on.
    pub(crate) workflow: Workflow,
    /// Version of the chain's row as it was loaded; 0 without one.
    pub(crate) chain_version: Version,
    /// Whether the chain differs from what was last taken.
    pub(crate) chain_dirty: bool,
    /// For each run in memory.
    pub(crate) runs: BTreeMap<String, RunPart>,
    /// Runs of which a checkpoint took rows that nobody has acknowledged yet.
    pub(crate) unconfirmed: BTreeSet<String>,
}

/// What is known about a run's rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunPart {
    /// Version of the run's row as it was loaded; 0 without one.
    pub(crate) version: Version,
    /// Whether the run differs from what was last taken.
    pub(crate) dirty: bool,
    /// Events below this one have been taken, or were in the table when the run was loaded.
    pub(crate) taken_below: i64,
}

impl WorkflowState {
    /// A workflow ID that has never had a run.
    pub(crate) fn vacant() -> Self {
        Self::loaded(Workflow::default(), 0)
    }

    /// As its chain's row has it; runs are added with [`WorkflowState::add_loaded_run`].
    pub(crate) fn loaded(workflow: Workflow, chain_version: Version) -> Self {
        Self { workflow, chain_version, chain_dirty: false, runs: BTreeMap::new(), unconfirmed: BTreeSet::new() }
    }

    /// Adds a run as its row has it, unless it is in memory already.
    pub(crate) fn add_loaded_run(&mut self, run: Run, version: Version) {
        let run_id = run.core.run_id.clone();
        if self.workflow.runs.contains_key(&run_id) {
            return;
        }
        self.workflow.absent.remove(&run_id);
        let part = RunPart { version, dirty: false, taken_below: run.core.next_event_id };
        self.workflow.runs.insert(run_id.clone(), run.into());
        self.runs.insert(run_id, part);
    }

    /// Notes which parts a change that has been applied made dirty.
    pub(crate) fn note(&mut self, change: &Change) {
        match change {
            Change::Chain(_) => self.chain_dirty = true,
            Change::Run(change) => {
                if self.workflow.runs.contains_key(&change.run_id) {
                    self.runs.entry(change.run_id.clone()).or_insert_with(RunPart::unborn).dirty = true;
                }
            }
        }
    }

    /// Takes the events of a change that the run's row shows already into memory again, to be written again: nobody knows
    /// how many replicas have their row. Changes come in the order of the log, which ends where the row does or later, so
    /// that the events in memory have no gap.
    pub(crate) fn distrust_history(&mut self, change: &RunChange) {
        let (Some(run), Some(part)) = (self.workflow.runs.get_mut(&change.run_id), self.runs.get_mut(&change.run_id))
        else {
            return;
        };
        if let Some(batch) = &change.batch {
            part.taken_below = part.taken_below.min(batch.first_event_id);
            Arc::make_mut(run).batches.push(Arc::clone(batch));
        }
    }

    /// Bytes of memory.
    pub(crate) fn weight(&self) -> usize {
        let requests = &self.workflow.chain.requests;
        let requests = requests.bytes() + requests.len() * REQUEST_BYTES;
        let runs: usize = self
            .workflow
            .runs
            .values()
            .map(|run| {
                let history: usize = run.batches.iter().map(|batch| batch.bytes.len() * (1 + EXPANSION)).sum();
                history + EMPTY_BYTES + run.state_bytes() * EXPANSION + pending_of(run) * PENDING_BYTES
            })
            .sum();
        EMPTY_BYTES + requests + runs
    }
}

impl RunPart {
    fn unborn() -> Self {
        Self { version: 0, dirty: true, taken_below: 1 }
    }
}

fn pending_of(run: &Run) -> usize {
    run.activities.len()
        + run.timers.len()
        + run.children.len()
        + run.signals.len()
        + run.cancels.len()
        + run.buffered.len()
}
