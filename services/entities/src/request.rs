//! An input on its way to an entity, and where its answer goes.

use tokio::sync::oneshot;

use crate::hosted::{Opaque, of_kind, own};
use crate::inbox::ReservedRoom;
use crate::{CallError, EntityKey, Kind, ObligationId};

/// What a caller gets: a reply or a rejection of the entity's kind.
pub(crate) type Outcome = Result<Opaque, CallError<Opaque>>;

/// Where a caller waits.
pub(crate) type ReplyTo = oneshot::Sender<Outcome>;

/// Where a caller waits until something is done, with no other answer.
pub(crate) type Waiter = oneshot::Sender<()>;

/// An answer and where it goes.
pub(crate) struct HeldReply {
    pub(crate) to: ReplyTo,
    pub(crate) outcome: Outcome,
}

impl HeldReply {
    /// Sends it. A caller that is gone needs no answer.
    pub(crate) fn send(self) {
        let _ = self.to.send(self.outcome);
    }
}

/// The same with the types of kind `K`.
pub(crate) type OutcomeOf<K> = Result<<K as Kind>::Reply, CallError<<K as Kind>::Rejection>>;

/// Where an input comes from.
pub(crate) enum Origin {
    /// A user's request; not worth deciding once its caller has gone.
    Call(ReplyTo),
    /// A completion or an answer, with the room that it takes until it is decided.
    Unshed(ReplyTo, #[expect(dead_code, reason = "held, and given back when dropped")] ReservedRoom),
    /// The shard, since the time has come.
    WakeUp,
    /// The host, having carried this obligation out.
    Obligation(ObligationId),
    /// A caller whose answer is on its way already.
    Answered,
}

impl Origin {
    /// Whether it is a call whose caller has gone.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Call(to) if to.is_closed())
    }
}

/// An input on its way to an entity.
pub(crate) struct Request {
    /// The entity.
    pub(crate) key: EntityKey,
    /// What is asked: an input of the entity's kind.
    pub(crate) input: Opaque,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

impl Request {
    /// An input of kind `K` for an entity of that kind.
    pub(crate) fn of<K: Kind>(key: EntityKey, input: K::Input, origin: Origin) -> Self {
        let (key, input) = of_kind::<K>(key, input);
        Self { key, input, origin }
    }
}

/// The outcome of an input of kind `K`.
pub(crate) fn outcome_of<K: Kind>(outcome: Outcome) -> OutcomeOf<K> {
    match outcome {
        Ok(reply) => Ok(own(reply)),
        Err(error) => Err(error.map(own)),
    }
}
