//! What an entity kind brings, and what the shard asks of its surroundings.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use ids::{KindId, NamespaceId, Slot, Timestamp, WallClock, WorkflowId};
use storage::{PartitionKey, RowKey};

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
    /// Whether the state has changed although there are no durable facts: in what only memory has, which a crash, a move of
    /// the shard or an eviction loses. The answer leaves as that of a read does.
    pub is_volatile: bool,
    /// The answer to the caller.
    pub reply: K::Reply,
    /// When the answer may leave.
    pub release: Release,
    /// How what is owed differs by it: what [`Kind::obligations`] says now, from what it said before. A step should find
    /// out without looking at all that is owed.
    pub owed: OwedChanges<K::ObligationId>,
}

/// Why a step did nothing. The state is as it was.
pub enum Refusal<K: Kind> {
    /// The answer is no. Leaves under the same rule as a read.
    Rejected(K::Rejection),
    /// These parts, which are not in memory, are needed first; then the input is given again.
    Needs(Vec<K::Part>, K::Input),
}

/// What a change does to a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touch<P> {
    /// It begins with this change: all that it is follows from this change and later ones, and nothing from a row.
    Begins(P),
    /// It is changed, or goes.
    Changes(P),
}

impl<P> Touch<P> {
    /// Which part.
    pub fn part(&self) -> &P {
        let (Self::Begins(part) | Self::Changes(part)) = self;
        part
    }

    /// Which part.
    pub fn into_part(self) -> P {
        let (Self::Begins(part) | Self::Changes(part)) = self;
        part
    }
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

/// How what is owed differs from before a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwedChanges<Id> {
    /// Owed before and not now.
    pub settled: Vec<Id>,
    /// Owed now and not before.
    pub fresh: Vec<Id>,
}

impl<Id> OwedChanges<Id> {
    /// All of this is newly owed.
    pub fn all(fresh: Vec<Id>) -> Self {
        Self { settled: Vec::new(), fresh }
    }

    /// The same under other ids.
    pub(crate) fn map<T>(self, id: impl Fn(Id) -> T) -> OwedChanges<T> {
        let Self { settled, fresh } = self;
        OwedChanges { settled: settled.into_iter().map(&id).collect(), fresh: fresh.into_iter().map(&id).collect() }
    }
}

impl<Id: Ord> OwedChanges<Id> {
    /// From all that was owed before and all that is now: for a kind that never owes much.
    pub fn between(before: Vec<Id>, now: Vec<Id>) -> Self {
        let (mut settled, mut fresh) = (BTreeSet::from_iter(before), Vec::new());
        for id in now {
            if !settled.remove(&id) {
                fresh.push(id);
            }
        }
        Self { settled: settled.into_iter().collect(), fresh }
    }
}

impl<Id> Default for OwedChanges<Id> {
    fn default() -> Self {
        Self::all(Vec::new())
    }
}

/// An entity kind: a state, its inputs, and what they do to it. All methods are pure and quick: the shard calls them on its one task.
///
/// An entity is named parts, each of which has a row of its own. A kind says which parts a change touches, and how a part is
/// written and read; which of them are in memory, dirty, unacknowledged, or behind the log, is the shard's to know.
pub trait Kind: Send + Sync + Sized + 'static {
    /// By which stored keys name it.
    const ID: KindId;
    /// Bytes that the name of a part holds on the heap, about.
    const PART_BYTES: usize = 0;

    /// The live value: those of its parts that are in memory.
    type State: Send + Sync + 'static;
    /// Names a part.
    type Part: Clone + Ord + Debug + Send + Sync + 'static;
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
    /// Names an obligation for as long as it is owed; the same one always has the same id.
    type ObligationId: Ord + Clone + Debug + Display + Send + Sync + 'static;

    /// Where the entity lives, by which its shard is found. Part of the stored format.
    fn slot(&self, key: &EntityKey) -> Slot {
        Slot::of(&key.namespace, &WorkflowId::new(&*key.id))
    }

    /// What the names begin with of the partitions by which all entities can be found: an entity that has rows has one of them, and
    /// no other partition is named so.
    fn entity_partitions(&self) -> &'static [u8];

    /// Whose such a partition is; `None` for a name of no entity.
    fn entity_of(&self, partition: &[u8]) -> Option<EntityKey>;

    /// The state of an entity that has never existed.
    fn vacant(&self, key: &EntityKey) -> Self::State;

    /// The part that is read before all others, and stays in memory.
    fn root(&self) -> Self::Part;

    /// The parts that must be in memory besides its root, as far as the root says.
    fn companions(&self, _state: &Self::State) -> Vec<Self::Part> {
        Vec::new()
    }

    /// Where a part's row is; the first one, if it has several.
    fn address(&self, key: &EntityKey, part: &Self::Part) -> RowAddress;

    /// A part in its rows, all in the partition of its address; none for a part that has gone. May depend on more than the changes.
    fn encode_part(&self, state: &Self::State, part: &Self::Part) -> Vec<(RowKey, Bytes)>;

    /// Adds a part as its row has it, or that it has none.
    fn decode_part(
        &self,
        key: &EntityKey,
        state: &mut Self::State,
        part: &Self::Part,
        row: Option<Bytes>,
    ) -> Result<(), Corrupt>;

    /// The parts that a change touches.
    fn parts_of(&self, change: &Self::Change) -> Vec<Touch<Self::Part>>;

    /// Drops from memory what need not be there while the entity stays loaded (old history, finished parts), of that
    /// which `is_safe`: of other parts the rows do not show yet what they are.
    fn leave_to_rows(&self, state: &mut Self::State, is_safe: &dyn Fn(&Self::Part) -> bool);

    /// Decides, and applies what was decided to `state`. On a refusal, and when the transition neither has changes nor is
    /// volatile, `state` is (observably) untouched.
    fn step(
        &self,
        key: &EntityKey,
        state: &mut Self::State,
        input: Self::Input,
        env: &Env,
    ) -> Result<Transition<Self>, Refusal<Self>>;

    /// Applies a change of the log's tail to those parts that it touches and that are behind it; the rows of the others showed it
    /// already. The parts that it touches are in memory, unless they begin with it.
    fn apply(
        &self,
        key: &EntityKey,
        state: &mut Self::State,
        change: &Self::Change,
        is_behind: &dyn Fn(&Self::Part) -> bool,
    ) -> Result<(), Corrupt>;

    /// A change as the log holds it.
    fn encode_change(&self, change: &Self::Change) -> Bytes;
    /// The inverse of [`Kind::encode_change`].
    fn decode_change(&self, bytes: Bytes) -> Result<Self::Change, Corrupt>;

    /// All that is owed now. The shard carries each out once per owner and hands the result back as an input, by which the
    /// entity stops owing it. Asked when an entity is loaded; from then on a step says what differs.
    fn obligations(&self, key: &EntityKey, state: &Self::State) -> Vec<Self::ObligationId>;

    /// What is owed under this id; `None` when nothing is. What it says must follow from what was durable when it came to be
    /// owed, and stay the same: it is asked later, when the state may be ahead of the log.
    fn obligation(&self, key: &EntityKey, state: &Self::State, id: &Self::ObligationId) -> Option<Self::Obligation>;

    /// When the entity must be looked at again.
    fn next_wake_up(&self, state: &Self::State) -> Option<Timestamp>;

    /// When to look again at a state that has just been woken, for which something is due that waits for the wall clock to come
    /// to the same time. `None` if nothing does.
    fn held_until(&self, _state: &Self::State, _env: &Env) -> Option<Timestamp> {
        None
    }

    /// The input that says the time has come.
    fn wake_up(&self) -> Self::Input;

    /// Bytes that the state holds on the heap, within a quarter. Must not take longer for a large state: it is asked after
    /// each step.
    fn weight(&self, state: &Self::State) -> usize;

    /// Whether the state has something that only memory has: then it is not evicted.
    fn is_pinned(&self, state: &Self::State) -> bool {
        let _ = state;
        false
    }

    /// Whether the entity has come to its end, so that nothing will happen to it by itself and it is hardly asked for: such
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

    /// Called on the shard's task when changes of this entity have become durable, or it has changed in what only memory
    /// has: wakes long polls. Must be quick.
    fn committed(&self, key: &EntityKey);

    /// Called once each time a shard has stopped being served here, for whatever reason, when calls are refused already:
    /// callers that wait for its entities are to be sent to the new owner.
    fn closed(&self, shard: u32) {
        let _ = shard;
    }
}
