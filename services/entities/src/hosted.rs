//! Kinds without their types. A shard moves inputs, answers and obligations of any kind about and looks into none; here they are
//! given back the types that their kind knows.
//!
//! What a kind is asked goes to an [`Entity`], which is in memory, or to a [`Hosted`], the kind itself beside the service that
//! it belongs to. Each has one implementation, which holds for every [`Kind`].

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use ids::{KindId, Slot, Timestamp};
use storage::{PartitionWrite, Row, Seq, Version};

use crate::{
    BoxFuture, Corrupt, EntityKey, Env, Host, Kind, Loading, ObligationId, OwedChanges, Refusal, Release, Resident,
    RowAddress,
};

/// An input, a reply, a rejection or an obligation of some kind.
pub(crate) type Opaque = Box<dyn Any + Send>;

/// What follows from a state.
pub(crate) struct Consequences {
    pub(crate) owed: OwedChanges<ObligationId>,
    pub(crate) next_wake_up: Option<Timestamp>,
    /// Bytes of memory.
    pub(crate) weight: usize,
    /// Whether it must stay in memory.
    pub(crate) is_pinned: bool,
}

/// What a step came to.
pub(crate) struct Stepped {
    pub(crate) reply: Opaque,
    pub(crate) release: Release,
    /// `None` when nothing changed.
    pub(crate) consequences: Option<Consequences>,
}

/// Why a step did nothing.
pub(crate) enum Refused {
    /// The answer is no.
    Rejected(Opaque),
    /// These rows are needed first, for this input.
    Needs(Vec<RowAddress>, Opaque),
}

/// An entity in memory.
pub(crate) trait Entity: Send + Sync {
    /// Decides and applies; the changes are added to `encoded`.
    fn step(&mut self, key: &EntityKey, input: Opaque, env: &Env, encoded: &mut Vec<Bytes>)
    -> Result<Stepped, Refused>;

    /// Adds the rows that a step needs, in the order in which it named them.
    fn supply(&mut self, key: &EntityKey, rows: Vec<Option<Row>>) -> Result<(), Corrupt>;

    /// What follows from a state that has just been loaded.
    fn consequences(&self, key: &EntityKey) -> Consequences;

    /// What is owed under this id.
    fn obligation(&self, key: &EntityKey, id: &ObligationId) -> Option<Opaque>;
    fn held_until(&self, env: &Env) -> Option<Timestamp>;
    fn next_wake_up(&self) -> Option<Timestamp>;
    fn take_dirty(&mut self, key: &EntityKey, version: Version) -> Vec<PartitionWrite>;
    fn written(&mut self);

    /// Bytes of memory in all.
    fn weight(&self) -> usize;
    fn is_at_rest(&self) -> bool;

    /// Itself, to be given its type back: a [`Resident`].
    fn resident(&self) -> &dyn Any;
}

/// An entity on its way to memory.
pub(crate) trait OnItsWay: Send {
    /// The rows to look up next; none when all are there.
    fn wants(&self, key: &EntityKey) -> Vec<RowAddress>;
    fn add(&mut self, key: &EntityKey, rows: Vec<Option<Row>>) -> Result<(), Corrupt>;
    fn finish(self: Box<Self>, key: &EntityKey) -> Result<Box<dyn Entity>, Corrupt>;
}

/// A kind, with the service around it.
pub(crate) trait Hosted: Send + Sync {
    fn id(&self) -> KindId;
    fn slot(&self, key: &EntityKey) -> Slot;
    fn entity_partitions(&self) -> &'static [u8];
    fn entity_of(&self, partition: &[u8]) -> Option<EntityKey>;

    /// Begins to load an entity, to which the log's tail has done this.
    fn load(&self, key: &EntityKey, tail: &[(Seq, Bytes)]) -> Result<Box<dyn OnItsWay>, Corrupt>;

    fn wake_up(&self) -> Opaque;
    fn carry_out(&self, key: EntityKey, obligation: Opaque) -> BoxFuture<Option<Opaque>>;
    fn committed(&self, key: &EntityKey);
    fn closed(&self, shard: u32);
}

/// Gives something back its type.
///
/// # Panics
/// When it is of another kind, which [`of_kind`] has ruled out.
pub(crate) fn own<T: 'static>(opaque: Opaque) -> T {
    match opaque.downcast::<T>() {
        Ok(own) => *own,
        Err(_) => panic!("expected {} of this kind", std::any::type_name::<T>()),
    }
}

/// Makes sure that an input of kind `K` goes to an entity of that kind.
///
/// # Panics
/// When it does not.
pub(crate) fn of_kind<K: Kind>(key: EntityKey, input: K::Input) -> (EntityKey, Opaque) {
    assert_eq!(key.kind, K::ID, "an input of another kind than its entity");
    (key, Box::new(input))
}

impl<K: Kind> Entity for Resident<K> {
    fn step(
        &mut self,
        key: &EntityKey,
        input: Opaque,
        env: &Env,
        encoded: &mut Vec<Bytes>,
    ) -> Result<Stepped, Refused> {
        let transition = match Self::step(self, key, own::<K::Input>(input), env) {
            Ok(transition) => transition,
            Err(Refusal::Rejected(rejection)) => return Err(Refused::Rejected(Box::new(rejection))),
            Err(Refusal::Needs(_, input)) => return Err(Refused::Needs(self.needs(key), Box::new(input))),
        };
        encoded.extend(transition.changes.iter().map(|change| self.kind().encode_change(change)));
        let has_changed = transition.is_volatile || !transition.changes.is_empty();
        let consequences = has_changed.then(|| self.after(transition.owed));
        Ok(Stepped { reply: Box::new(transition.reply), release: transition.release, consequences })
    }

    fn supply(&mut self, key: &EntityKey, rows: Vec<Option<Row>>) -> Result<(), Corrupt> {
        Self::supply(self, key, rows)
    }

    fn consequences(&self, key: &EntityKey) -> Consequences {
        self.after(OwedChanges::all(self.kind().obligations(key, self.state())))
    }

    fn obligation(&self, key: &EntityKey, id: &ObligationId) -> Option<Opaque> {
        let obligation = self.kind().obligation(key, self.state(), id.get()?)?;
        Some(Box::new(obligation))
    }

    fn held_until(&self, env: &Env) -> Option<Timestamp> {
        self.kind().held_until(self.state(), env)
    }

    fn next_wake_up(&self) -> Option<Timestamp> {
        self.kind().next_wake_up(self.state())
    }

    fn take_dirty(&mut self, key: &EntityKey, version: Version) -> Vec<PartitionWrite> {
        Self::take_dirty(self, key, version)
    }

    fn written(&mut self) {
        Self::written(self);
    }

    fn weight(&self) -> usize {
        Self::weight(self)
    }

    fn is_at_rest(&self) -> bool {
        self.kind().is_at_rest(self.state())
    }

    fn resident(&self) -> &dyn Any {
        self
    }
}

impl<K: Kind> Resident<K> {
    fn after(&self, owed: OwedChanges<K::ObligationId>) -> Consequences {
        let owed = owed.map(ObligationId::of);
        let is_pinned = self.kind().is_pinned(self.state());
        Consequences { owed, next_wake_up: Entity::next_wake_up(self), weight: self.weight(), is_pinned }
    }
}

impl<K: Kind> OnItsWay for Loading<K> {
    fn wants(&self, key: &EntityKey) -> Vec<RowAddress> {
        Self::wants(self, key)
    }

    fn add(&mut self, key: &EntityKey, rows: Vec<Option<Row>>) -> Result<(), Corrupt> {
        Self::add(self, key, rows)
    }

    fn finish(self: Box<Self>, key: &EntityKey) -> Result<Box<dyn Entity>, Corrupt> {
        Ok(Box::new(Self::finish(*self, key)?))
    }
}

/// A kind beside its host.
pub(crate) struct KindAndHost<K: Kind> {
    pub(crate) kind: Arc<K>,
    pub(crate) host: Arc<dyn Host<K>>,
}

impl<K: Kind> Hosted for KindAndHost<K> {
    fn id(&self) -> KindId {
        K::ID
    }

    fn slot(&self, key: &EntityKey) -> Slot {
        self.kind.slot(key)
    }

    fn entity_partitions(&self) -> &'static [u8] {
        self.kind.entity_partitions()
    }

    fn entity_of(&self, partition: &[u8]) -> Option<EntityKey> {
        self.kind.entity_of(partition)
    }

    fn load(&self, key: &EntityKey, tail: &[(Seq, Bytes)]) -> Result<Box<dyn OnItsWay>, Corrupt> {
        Ok(Box::new(Loading::begin(Arc::clone(&self.kind), key, tail)?))
    }

    fn wake_up(&self) -> Opaque {
        Box::new(self.kind.wake_up())
    }

    fn carry_out(&self, key: EntityKey, obligation: Opaque) -> BoxFuture<Option<Opaque>> {
        let carrying = Arc::clone(&self.host).carry_out(key, own::<K::Obligation>(obligation));
        Box::pin(async move { carrying.await.map(|input| Box::new(input) as Opaque) })
    }

    fn committed(&self, key: &EntityKey) {
        self.host.committed(key);
    }

    fn closed(&self, shard: u32) {
        self.host.closed(shard);
    }
}
