//! The workflow as an entity of a shard: the pure core of crate `execution`, with its rows.
//!
//! A workflow ID is one entity. Its chain and each of its runs are parts with rows of their own, which a crash may leave
//! at different positions; each part is brought up to date from the log by its own version.

#[cfg(test)]
mod recovery_test;
mod rows;
mod state;

use api::temporal::api::history::v1::History;
use bytes::Bytes;
use entities::{
    Corrupt, EntityKey, Env, Kind, Load, ObligationId, Refusal, Release, RowAddress, StoredRow, Transition,
};
use execution::{Change, Input, Limits, Obligation, Rejection, Reply, WakeUp, Workflow};
use ids::{KindId, Timestamp};
use prost::Message;
use storage::{PartitionWrite, Version};

pub use rows::{chain_of_run, check_row};
pub(crate) use rows::{history_key, history_range, run_partition};
pub use state::WorkflowState;

/// History of an open run that stays in memory once it is stored: what the next sticky task is likely to need. Bytes.
const KEPT_HISTORY_BYTES: usize = 64 << 10;
/// Runs that were asked for and do not exist are remembered for the one step that asked; more are forgotten.
const REMEMBERED_ABSENT: usize = 16;

/// What a workflow answers. A rejection that comes as an answer comes with changes.
pub(crate) type Answer = Result<Reply, Rejection>;

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
    type State = WorkflowState;
    type Input = Input;
    type Change = Change;
    type Reply = Answer;
    type Rejection = Rejection;
    type Obligation = Obligation;

    const ID: KindId = KindId::WORKFLOW;

    fn entity_partitions(&self) -> &'static [u8] {
        rows::CHAINS
    }

    fn entity_of(&self, partition: &[u8]) -> Option<EntityKey> {
        EntityKey::of_name::<Self>(partition.strip_prefix(rows::CHAINS)?)
    }

    fn vacant(&self, _key: &EntityKey) -> WorkflowState {
        WorkflowState::vacant()
    }

    fn step(
        &self,
        key: &EntityKey,
        state: &mut WorkflowState,
        input: Input,
        env: &Env,
    ) -> Result<Transition<Self>, Refusal<Self>> {
        if let Some(run_id) = execution::needs(&state.workflow, &input) {
            return Err(Refusal::Needs(vec![rows::run_address(key, &run_id)], input));
        }
        let env = execution::Env {
            now: env.now,
            wall: env.wall,
            seed: env.seed,
            limits: &self.limits,
            namespace_id: key.namespace.as_str(),
            workflow_id: &key.id,
        };
        let decided = execution::decide(&state.workflow, input, &env).map_err(Refusal::Rejected)?;
        if !decided.changes.is_empty() {
            state.workflow = decided.next;
            decided.changes.iter().for_each(|change| state.note(change));
            if cfg!(debug_assertions) {
                check(key, &state.workflow);
            }
        }
        Ok(Transition { changes: decided.changes, reply: decided.reply, release: Release::Durable })
    }

    fn apply(&self, _key: &EntityKey, state: &mut WorkflowState, change: &Change) -> Result<(), Corrupt> {
        if is_in_its_row(&state.workflow, change) {
            return Ok(());
        }
        state.workflow.apply(change).map_err(Corrupt)?;
        state.note(change);
        Ok(())
    }

    fn loaded_version(&self, state: &WorkflowState, change: &Change) -> Version {
        match change {
            Change::Chain(_) => state.chain_version,
            Change::Run(change) => state.runs.get(&change.run_id).map_or(0, |part| part.version),
        }
    }

    /// The state row was read, and is safe; the history rows that were written with it may lie on one replica only.
    fn found_in_row(&self, _key: &EntityKey, state: &mut WorkflowState, change: &Change) {
        if let Change::Run(change) = change {
            state.distrust_history(change);
        }
    }

    fn encode_change(&self, change: &Change) -> Bytes {
        change.encode()
    }

    fn decode_change(&self, bytes: Bytes) -> Result<Change, Corrupt> {
        Change::decode(bytes).map_err(|error| Corrupt(format!("change: {error}")))
    }

    fn obligations(&self, _key: &EntityKey, state: &WorkflowState) -> Vec<(ObligationId, Obligation)> {
        execution::obligations(&state.workflow)
    }

    fn next_wake_up(&self, state: &WorkflowState) -> Option<Timestamp> {
        execution::next_wake_up(&state.workflow)
    }

    fn held_until(&self, state: &WorkflowState, env: &Env) -> Option<Timestamp> {
        execution::held_until(&state.workflow, env.now, env.wall)
    }

    fn wake_up(&self) -> Input {
        Input::of_chain(WakeUp)
    }

    fn load(&self, key: &EntityKey, found: &[StoredRow]) -> Result<Load<WorkflowState>, Corrupt> {
        let Some(chain_row) = found.iter().find(|stored| stored.address == rows::chain_address(key)) else {
            return Ok(Load::Fetch(vec![rows::chain_address(key)]));
        };
        let Some(row) = &chain_row.row else { return Ok(Load::Ready(WorkflowState::vacant())) };
        let (chain, companions) = rows::decode_chain(&row.value)?;
        let mut wanted: Vec<RowAddress> = Vec::new();
        for run_id in chain.live_runs.iter().chain(&companions) {
            let address = rows::run_address(key, run_id);
            if !found.iter().any(|stored| stored.address == address) && !wanted.contains(&address) {
                wanted.push(address);
            }
        }
        if !wanted.is_empty() {
            return Ok(Load::Fetch(wanted));
        }
        let workflow = Workflow { chain: chain.into(), ..Workflow::default() };
        let mut state = WorkflowState::loaded(workflow, row.version);
        // A run without a row was born after the last checkpoint: the log brings it.
        for stored in found.iter().filter(|stored| stored.address != chain_row.address) {
            if let Some(row) = &stored.row {
                state.add_loaded_run(rows::decode_run(&row.value)?, row.version);
            }
        }
        Ok(Load::Ready(state))
    }

    fn supply(&self, key: &EntityKey, state: &mut WorkflowState, found: Vec<StoredRow>) -> Result<(), Corrupt> {
        for stored in found {
            match stored.row {
                Some(row) => state.add_loaded_run(rows::decode_run(&row.value)?, row.version),
                None => {
                    let run_id = rows::run_id_of(key, &stored.address)
                        .ok_or_else(|| Corrupt("a row that nobody asked for was supplied".to_owned()))?;
                    if state.workflow.chain.live_runs.contains(&run_id) {
                        return Err(Corrupt(format!("the chain names run {run_id} as live, which has no row")));
                    }
                    if state.workflow.absent.len() >= REMEMBERED_ABSENT {
                        state.workflow.absent.clear();
                    }
                    state.workflow.absent.insert(run_id);
                }
            }
        }
        Ok(())
    }

    fn take_dirty(&self, key: &EntityKey, state: &mut WorkflowState) -> Vec<PartitionWrite> {
        let mut writes = Vec::new();
        for (run_id, part) in &mut state.runs {
            let Some(run) = state.workflow.runs.get(run_id).filter(|_| part.dirty) else { continue };
            let new = run.batches.iter().filter(|batch| batch.first_event_id >= part.taken_below);
            let mut puts = vec![(rows::state_key(), rows::encode_run(run))];
            puts.extend(new.flat_map(|batch| rows::history_rows(batch)));
            writes.push(PartitionWrite { partition: run_partition(key, run_id), puts, ..PartitionWrite::default() });
            part.dirty = false;
            part.taken_below = run.core.next_event_id;
            state.unconfirmed.insert(run_id.clone());
        }
        if state.chain_dirty {
            let companions =
                state.unconfirmed.iter().filter(|run_id| !state.workflow.chain.live_runs.contains(*run_id)).cloned();
            let value = rows::encode_chain(&state.workflow.chain, companions);
            writes.push(PartitionWrite {
                partition: rows::chain_partition(key),
                puts: vec![(rows::state_key(), value)],
                ..PartitionWrite::default()
            });
            state.chain_dirty = false;
        }
        writes
    }

    fn mark_all_dirty(&self, state: &mut WorkflowState) {
        state.chain_dirty = !state.workflow.is_vacant();
        state.runs.values_mut().for_each(|part| part.dirty = true);
    }

    fn shed(&self, state: &mut WorkflowState) {
        state.unconfirmed.clear();
        let workflow = &mut state.workflow;
        let (runs, live_runs) = (&mut state.runs, &workflow.chain.live_runs);
        workflow.runs.retain(|run_id, run| {
            let leaves =
                run.is_finished() && !live_runs.contains(run_id) && runs.get(run_id).is_none_or(|part| !part.dirty);
            if leaves {
                runs.remove(run_id);
            }
            !leaves
        });
        for (run_id, run) in &mut workflow.runs {
            let taken_below = runs.get(run_id).map_or(1, |part| part.taken_below);
            let droppable = droppable_batches(run, taken_below);
            if droppable > 0 {
                std::sync::Arc::make_mut(run).batches.forget_oldest(droppable);
            }
        }
    }

    fn weight(&self, state: &WorkflowState) -> usize {
        state.weight()
    }

    fn is_at_rest(&self, state: &WorkflowState) -> bool {
        state.is_at_rest()
    }
}

/// How many of a run's batches in memory are stored and too old to be kept for the next task.
fn droppable_batches(run: &execution::Run, taken_below: i64) -> usize {
    let mut kept = 0;
    let newest_first = run.batches.iter().rev();
    let stay = newest_first
        .take_while(|batch| {
            let fits = kept < KEPT_HISTORY_BYTES;
            kept += batch.bytes.len();
            batch.first_event_id >= taken_below || fits
        })
        .count();
    run.batches.len() - stay
}

/// Whether a change concerns a run that is not in memory and does not begin with this change. Then nothing is missing:
/// the chain's row, which would otherwise name that run, was written after the run's own row was acknowledged.
fn is_in_its_row(workflow: &Workflow, change: &Change) -> bool {
    let Change::Run(change) = change else { return false };
    let begins = change.batch.as_ref().is_some_and(|batch| batch.first_event_id == 1);
    !begins && !workflow.runs.contains_key(&change.run_id)
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
