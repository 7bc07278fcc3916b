//! The workflow as an entity of a shard: the pure core of crate `execution`, with its rows.
//!
//! A workflow ID is one entity. Its chain and each of its runs are parts with rows of their own, and so is each transition's
//! batch of events: whatever the run's row shows, a batch that the log's tail has is written again, and read from memory until then.

#[cfg(test)]
mod recovery_test;
mod rows;

use std::sync::Arc;

use api::temporal::api::history::v1::History;
use bytes::Bytes;
use entities::{Corrupt, EntityKey, Env, Kind, OwedChanges, Refusal, Release, RowAddress, Touch, Transition};
use execution::{Change, Input, Limits, Obligation, ObligationId, Rejection, Reply, Run, WakeUp, Workflow};
use ids::{KindId, Timestamp};
use prost::Message;
use storage::RowKey;

pub use rows::{chain_of_run, check_row};
pub(crate) use rows::{history_key, history_range, run_partition};

/// History of an open run that stays in memory once it is stored: what the next sticky task is likely to need. Bytes.
const KEPT_HISTORY_BYTES: usize = 64 << 10;
/// Runs that were asked for and do not exist are remembered for the one step that asked; more are forgotten.
const REMEMBERED_ABSENT: usize = 16;

/// What a workflow answers. A rejection that comes as an answer comes with changes.
pub(crate) type Answer = Result<Reply, Rejection>;

/// A part of a workflow ID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkflowPart {
    /// The chain of its runs.
    Chain,
    /// A run's state.
    Run(String),
    /// What one transition added to a run's history, by its first event.
    Batch(String, i64),
}

/// The entity kind `workflow`.
pub struct WorkflowKind {
    limits: Limits,
}

impl WorkflowKind {
    /// With these bounds on runs.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

impl Kind for WorkflowKind {
    const ID: KindId = KindId::WORKFLOW;
    /// A run's id.
    const PART_BYTES: usize = 48;

    type State = Workflow;
    type Part = WorkflowPart;
    type Input = Input;
    type Change = Change;
    type Reply = Answer;
    type Rejection = Rejection;
    type Obligation = Obligation;
    type ObligationId = ObligationId;

    fn entity_partitions(&self) -> &'static [u8] {
        rows::CHAINS
    }

    fn entity_of(&self, partition: &[u8]) -> Option<EntityKey> {
        EntityKey::of_name::<Self>(partition.strip_prefix(rows::CHAINS)?)
    }

    fn vacant(&self, _key: &EntityKey) -> Workflow {
        Workflow::default()
    }

    fn root(&self) -> WorkflowPart {
        WorkflowPart::Chain
    }

    /// The live runs.
    fn companions(&self, workflow: &Workflow) -> Vec<WorkflowPart> {
        workflow.chain.live_runs.iter().cloned().map(WorkflowPart::Run).collect()
    }

    fn address(&self, key: &EntityKey, part: &WorkflowPart) -> RowAddress {
        match part {
            WorkflowPart::Chain => rows::chain_address(key),
            WorkflowPart::Run(run_id) => rows::run_address(key, run_id),
            WorkflowPart::Batch(run_id, first_event_id) => {
                RowAddress { partition: run_partition(key, run_id), key: history_key(*first_event_id) }
            }
        }
    }

    fn encode_part(&self, workflow: &Workflow, part: &WorkflowPart) -> Vec<(RowKey, Bytes)> {
        match part {
            WorkflowPart::Chain => vec![(rows::state_key(), rows::encode_chain(&workflow.chain))],
            WorkflowPart::Run(run_id) => {
                let run = workflow.runs.get(run_id);
                run.map(|run| (rows::state_key(), rows::encode_run(run))).into_iter().collect()
            }
            WorkflowPart::Batch(run_id, first_event_id) => {
                let batch = workflow.runs.get(run_id).and_then(|run| run.batches.get(first_event_id));
                batch.map_or_else(Vec::new, |batch| rows::history_rows(batch))
            }
        }
    }

    fn decode_part(
        &self,
        _key: &EntityKey,
        workflow: &mut Workflow,
        part: &WorkflowPart,
        row: Option<Bytes>,
    ) -> Result<(), Corrupt> {
        match (part, row) {
            (WorkflowPart::Chain, Some(row)) => workflow.chain = rows::decode_chain(&row)?.into(),
            (WorkflowPart::Chain, None) => {}
            (WorkflowPart::Run(run_id), Some(row)) => {
                workflow.absent.remove(run_id);
                workflow.runs.insert(rows::decode_run(&row)?.into());
            }
            (WorkflowPart::Run(run_id), None) if workflow.chain.live_runs.contains(run_id) => {
                return Err(Corrupt(format!("the chain names run {run_id} as live, which has no row")));
            }
            (WorkflowPart::Run(run_id), None) => {
                if workflow.absent.len() >= REMEMBERED_ABSENT {
                    workflow.absent.clear();
                }
                workflow.absent.insert(run_id.clone());
            }
            (WorkflowPart::Batch(..), _) => {
                return Err(Corrupt("a batch of events was read, which no step needs".to_owned()));
            }
        }
        Ok(())
    }

    fn parts_of(&self, change: &Change) -> Vec<Touch<WorkflowPart>> {
        let change = match change {
            Change::Chain(_) => return vec![Touch::Changes(WorkflowPart::Chain)],
            Change::Run(change) => change,
        };
        let run = WorkflowPart::Run(change.run_id.clone());
        let first = change.batch.as_ref().map(|batch| batch.first_event_id);
        let run = if first == Some(1) || change.forks() { Touch::Begins(run) } else { Touch::Changes(run) };
        let batch = first.map(|first| Touch::Begins(WorkflowPart::Batch(change.run_id.clone(), first)));
        [Some(run), batch].into_iter().flatten().collect()
    }

    fn leave_to_rows(&self, workflow: &mut Workflow, is_safe: &dyn Fn(&WorkflowPart) -> bool) {
        let live_runs = &workflow.chain.live_runs;
        workflow.runs.retain(|run| {
            let run_id = &run.core.run_id;
            let may_leave = run.is_finished() && !live_runs.contains(run_id);
            !(may_leave && is_safe(&WorkflowPart::Run(run_id.clone())))
        });
        for run in workflow.runs.clone().values() {
            let run_id = &run.core.run_id;
            let droppable = droppable_batches(run, |first| is_safe(&WorkflowPart::Batch(run_id.clone(), first)));
            if droppable > 0 {
                workflow.runs.update(run_id, |run| Arc::make_mut(run).batches.forget_oldest(droppable));
            }
        }
    }

    fn step(
        &self,
        key: &EntityKey,
        workflow: &mut Workflow,
        input: Input,
        env: &Env,
    ) -> Result<Transition<Self>, Refusal<Self>> {
        if let Some(run_id) = execution::needs(workflow, &input) {
            return Err(Refusal::Needs(vec![WorkflowPart::Run(run_id)], input));
        }
        let env = execution::Env {
            now: env.now,
            wall: env.wall,
            seed: env.seed,
            limits: &self.limits,
            namespace_id: key.namespace.as_str(),
            workflow_id: &key.id,
        };
        let mut decided = execution::decide(workflow, input, &env).map_err(Refusal::Rejected)?;
        let mut owed = OwedChanges::default();
        if decided.is_volatile || !decided.changes.is_empty() {
            let execution::OwedChanges { settled, fresh } = execution::owed_changes(workflow, &decided.next);
            owed = OwedChanges { settled, fresh };
            *workflow = std::mem::take(&mut decided.next);
            if cfg!(debug_assertions) {
                check(key, workflow);
            }
        }
        let execution::Transition { changes, is_volatile, reply, .. } = decided;
        Ok(Transition { changes, is_volatile, reply, release: Release::Durable, owed })
    }

    fn apply(
        &self,
        _key: &EntityKey,
        workflow: &mut Workflow,
        change: &Change,
        is_behind: &dyn Fn(&WorkflowPart) -> bool,
    ) -> Result<(), Corrupt> {
        match change {
            Change::Run(change) if !is_behind(&WorkflowPart::Run(change.run_id.clone())) => {
                // The run's row shows it already, and ends before the log does: so the events in memory have no gap.
                if let Some(batch) = &change.batch {
                    workflow.runs.update(&change.run_id, |run| Arc::make_mut(run).batches.insert(Arc::clone(batch)));
                }
                Ok(())
            }
            change => workflow.apply(change).map_err(Corrupt),
        }
    }

    fn encode_change(&self, change: &Change) -> Bytes {
        change.encode()
    }

    fn decode_change(&self, bytes: Bytes) -> Result<Change, Corrupt> {
        Change::decode(bytes).map_err(|error| Corrupt(format!("change: {error}")))
    }

    fn obligations(&self, _key: &EntityKey, workflow: &Workflow) -> Vec<ObligationId> {
        execution::obligations(workflow)
    }

    fn obligation(&self, _key: &EntityKey, workflow: &Workflow, id: &ObligationId) -> Option<Obligation> {
        execution::obligation(workflow, id)
    }

    fn next_wake_up(&self, workflow: &Workflow) -> Option<Timestamp> {
        execution::next_wake_up(workflow)
    }

    fn held_until(&self, workflow: &Workflow, env: &Env) -> Option<Timestamp> {
        execution::held_until(workflow, env.now, env.wall)
    }

    fn wake_up(&self) -> Input {
        Input::of_chain(WakeUp)
    }

    fn weight(&self, workflow: &Workflow) -> usize {
        workflow.held_bytes()
    }

    fn is_pinned(&self, workflow: &Workflow) -> bool {
        workflow.current().is_some_and(|run| run.is_pinned())
    }

    /// No run is live, so nothing will happen by itself.
    fn is_at_rest(&self, workflow: &Workflow) -> bool {
        workflow.chain.live_runs.is_empty()
    }
}

/// How many of a run's batches in memory are stored and too old to be kept for the next task.
fn droppable_batches(run: &Run, is_safe: impl Fn(i64) -> bool) -> usize {
    let mut kept = 0;
    let newest_first = run.batches.values().rev();
    let recent = newest_first
        .take_while(|batch| {
            let fits = kept < KEPT_HISTORY_BYTES;
            kept += batch.bytes.len();
            fits
        })
        .count();
    let old = run.batches.values().take(run.batches.len() - recent);
    old.take_while(|batch| is_safe(batch.first_event_id)).count()
}

/// A history row.
pub(crate) fn decode_history(bytes: Bytes) -> Result<History, Corrupt> {
    History::decode(bytes).map_err(|error| Corrupt(format!("history row: {error}")))
}

/// Panics when the state contradicts itself: a bug in the core, which the shard turns into a quarantined entity.
fn check(key: &EntityKey, workflow: &Workflow) {
    if let Err(broken) = execution::invariants(workflow) {
        panic!("workflow {} in {} breaks an invariant: {broken}", key.id, key.namespace);
    }
}
