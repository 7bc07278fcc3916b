//! What an entity kind brings, and what the shard asks of its surroundings.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use ids::{KindId, NamespaceId, Slot, Timestamp, WallClock, WorkflowId};
use storage::{PartitionKey, PartitionWrite, Row, RowKey, Version};

/// Names an entity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntityKey {
    /// What it is.
    pub kind: KindId,
    /// The tenant, for fairness and quarantine reports as well as for naming.
    pub namespace: NamespaceId,
    /// The name within the namespace and its kind: a workflow ID, or a task-queue partition's name.
    pub id: Arc<str>,
}

/// What a step knows of the world.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// The time that the process goes by, which wake-ups follow. Entities move between processes, so a kind makes sure by itself
    /// that its event times never go back.
    pub now: Timestamp,
    /// The wall clock, which may be behind: see [`Kind::held_until`].
    pub wall: WallClock,
    /// Random bits, from which a step derives the fresh ids that it needs.
    pub seed: u128,
}

/// When the reply to a step may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Release {
    /// Once the step's changes are durable; without changes, once what it saw is durable and a fence check has passed.
    #[default]
    Durable,
    /// At once. Only for what may be lazy because its loss can be recovered (see docs/architecture.md); the changes still go into the very next group.
    Lazy,
}

/// What a step did: its changes are already applied to the state that it was given.
pub struct Transition<K: Kind> {
    /// The durable facts, in order. Empty for a read or a recognised duplicate.
    pub changes: Vec<K::Change>,
    /// The answer to the caller.
    pub reply: K::Reply,
    /// When the answer may leave.
    pub release: Release,
}

/// Why a step did nothing. The state is as it was.
pub enum Refusal<K: Kind> {
    /// The answer is no. Leaves under the same rule as a read.
    Rejected(K::Rejection),
    /// These rows are needed first; the input comes back to be given again after [`Kind::supply`].
    Needs(Vec<RowAddress>, K::Input),
}

/// Bytes or changes that contradict what is there: the entity is quarantined, the shard serves on.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(pub String);

impl EntityKey {
    /// The entity of this kind and name.
    pub fn of<K: Kind>(namespace: impl Into<NamespaceId>, id: impl Into<Arc<str>>) -> Self {
        Self { kind: K::ID, namespace: namespace.into(), id: id.into() }
    }

    /// The entity whose namespace and id are written there, with a zero byte between.
    pub fn of_name<K: Kind>(name: &[u8]) -> Option<Self> {
        let (namespace, id) = std::str::from_utf8(name).ok()?.split_once('\0')?;
        Some(Self::of::<K>(namespace, id))
    }
}

/// Where a row lies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RowAddress {
    /// The partition.
    pub partition: PartitionKey,
    /// The row in it.
    pub key: RowKey,
}

/// A row that was looked up.
pub struct StoredRow {
    /// Where.
    pub address: RowAddress,
    /// What was there.
    pub row: Option<Row>,
}

/// How loading goes on.
pub enum Load<S> {
    /// Look these rows up and call again with all that was found so far.
    Fetch(Vec<RowAddress>),
    /// The entity, in its stored state (which may be [`Kind::vacant`]).
    Ready(S),
}

/// Identifies an obligation of an entity for as long as it is owed; the same debt always has the same id.
pub type ObligationId = String;

/// An entity kind. All methods are pure and quick: the shard calls them on its one task.
pub trait Kind: Send + Sync + Sized + 'static {
    /// The live value, with whatever it needs to know which of its parts are dirty.
    type State: Send + Sync + 'static;
    /// What can be asked of it.
    type Input: Send + 'static;
    /// A durable fact about it.
    type Change: Send + Sync + 'static;
    /// The answer to an input.
    type Reply: Send + 'static;
    /// The refusal of an input.
    type Rejection: Send + 'static;
    /// Something owed to the outside.
    type Obligation: Send + 'static;

    /// By which stored keys name it.
    const ID: KindId;

    /// Where the entity lives, by which its shard is found. Part of the stored format.
    fn slot(&self, key: &EntityKey) -> Slot {
        Slot::of(&key.namespace, &WorkflowId::new(&*key.id))
    }

    /// What the names begin with of the partitions by which all entities can be found: an entity that has rows has one of them, and
    /// no other partition is named so.
    fn entity_partitions(&self) -> &'static [u8];

    /// Whose such a partition is; `None` for a name that is nobody's.
    fn entity_of(&self, partition: &[u8]) -> Option<EntityKey>;

    /// The state of an entity that has never existed.
    fn vacant(&self, key: &EntityKey) -> Self::State;

    /// Decides, and applies what was decided to `state`. On a refusal, and when the transition has no changes, `state` is
    /// (observably) untouched.
    fn step(
        &self,
        key: &EntityKey,
        state: &mut Self::State,
        input: Self::Input,
        env: &Env,
    ) -> Result<Transition<Self>, Refusal<Self>>;

    /// Applies a change read from the log.
    fn apply(&self, key: &EntityKey, state: &mut Self::State, change: &Self::Change) -> Result<(), Corrupt>;

    /// The log position up to which the part of `state` that `change` touches has been loaded from its row; changes at or
    /// below it are in the row already and are not applied again. 0 for a part that had no row.
    fn loaded_version(&self, state: &Self::State, change: &Self::Change) -> Version;

    /// Told of each change of a recovered tail that is not applied, since a row shows it already. The row may have been
    /// written by a former owner whom nobody told of success: of all that one write carried, what was read is safe, and the
    /// rest may lie on a single replica that is about to be lost. So whatever else a write wrote on account of this change
    /// must be in the next [`Kind::take_dirty`], deletes included, and until then must not be read from the tables. Need
    /// not do anything where [`Kind::mark_all_dirty`], which follows, covers every row that a change of the tail touched.
    fn found_in_row(&self, key: &EntityKey, state: &mut Self::State, change: &Self::Change) {
        let _ = (key, state, change);
    }

    /// A change as the log holds it.
    fn encode_change(&self, change: &Self::Change) -> Bytes;
    /// The inverse of [`Kind::encode_change`].
    fn decode_change(&self, bytes: Bytes) -> Result<Self::Change, Corrupt>;

    /// What is owed now, each with its id. The shard carries each out once per owner and hands the result back as an
    /// input, by which the entity stops owing it.
    fn obligations(&self, key: &EntityKey, state: &Self::State) -> Vec<(ObligationId, Self::Obligation)>;

    /// When the entity must be looked at again.
    fn next_wake_up(&self, state: &Self::State) -> Option<Timestamp>;

    /// When to look again at a state that has just been woken, for which something is due that waits for the wall clock to come
    /// to the same time. `None` if nothing does.
    fn held_until(&self, _state: &Self::State, _env: &Env) -> Option<Timestamp> {
        None
    }

    /// The input that says the time has come.
    fn wake_up(&self) -> Self::Input;

    /// Builds the state from rows. First called with nothing found.
    fn load(&self, key: &EntityKey, found: &[StoredRow]) -> Result<Load<Self::State>, Corrupt>;

    /// Adds rows that a step needed to the state, as clean parts.
    fn supply(&self, key: &EntityKey, state: &mut Self::State, rows: Vec<StoredRow>) -> Result<(), Corrupt>;

    /// The rows that changed since the last call, which are then clean. The shard sets `version` and writes them once
    /// that version is durable, again and again until the store has acknowledged them.
    fn take_dirty(&self, key: &EntityKey, state: &mut Self::State) -> Vec<PartitionWrite>;

    /// Marks every part dirty: after recovery nobody knows which rows the former owner wrote.
    fn mark_all_dirty(&self, state: &mut Self::State);

    /// After its rows are written: drops from memory what need not be there while the entity stays loaded (old history,
    /// finished parts).
    fn shed(&self, state: &mut Self::State);

    /// Bytes that the state holds on the heap, within a quarter. Must not take longer for a large state: it is asked after
    /// each step.
    fn weight(&self, state: &Self::State) -> usize;

    /// Whether the entity has come to its end, so that nothing will happen to it by itself and hardly anybody asks: such
    /// entities leave memory first.
    fn is_at_rest(&self, state: &Self::State) -> bool {
        let _ = state;
        false
    }
}

/// A future as hosts return it.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the service around a shard does for it, outside the shard's task.
pub trait Host<K: Kind>: Send + Sync + 'static {
    /// Carries an obligation out, retrying as it sees fit; the returned input (if any) is given to the entity. Idempotent:
    /// after a crash the next owner carries it out again.
    fn carry_out(self: Arc<Self>, key: EntityKey, obligation: K::Obligation) -> BoxFuture<Option<K::Input>>;

    /// Called on the shard's task when changes of this entity have become durable: wakes long polls. Must be quick.
    fn committed(&self, key: &EntityKey);

    /// Called once each time a shard has stopped being served here, for whatever reason, when calls are refused already:
    /// whoever waits for its entities is to be sent to the new owner.
    fn closed(&self, shard: u32) {
        let _ = shard;
    }
}
