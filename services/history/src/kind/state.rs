//! A workflow ID in memory, with what is known about its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::{Held, map_bytes};
use execution::{Change, Run, RunChange, Workflow};
use storage::Version;

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

    /// Bytes on the heap. Costs as much as there are runs in memory, however large they are.
    pub(crate) fn weight(&self) -> usize {
        let parts: usize = self.runs.keys().map(Held::heap_bytes).sum();
        let unconfirmed: usize = self.unconfirmed.iter().map(Held::heap_bytes).sum();
        self.workflow.held_bytes()
            + map_bytes::<String, RunPart>(self.runs.len())
            + parts
            + map_bytes::<String, ()>(self.unconfirmed.len())
            + unconfirmed
    }

    /// Whether it is only kept in case that somebody asks: no run is live, so nothing will happen by itself.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.workflow.chain.live_runs.is_empty()
    }
}

impl RunPart {
    fn unborn() -> Self {
        Self { version: 0, dirty: true, taken_below: 1 }
    }
}
