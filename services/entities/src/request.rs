//! An input on its way to an entity, and who waits for the answer.

use tokio::sync::oneshot;

use crate::inbox::TellRoom;
use crate::{CallError, EntityKey, Kind, ObligationId};

/// What a caller gets.
pub(crate) type Outcome<K> = Result<<K as Kind>::Reply, CallError<<K as Kind>::Rejection>>;

/// Where a caller waits.
pub(crate) type ReplyTo<K> = oneshot::Sender<Outcome<K>>;

/// Who gave an input.
pub(crate) enum Origin<K: Kind> {
    /// A user's request; not worth deciding once nobody waits for it.
    Call(ReplyTo<K>),
    /// A completion or an answer, with the room that it takes until it is decided.
    Tell(ReplyTo<K>, #[expect(dead_code, reason = "held, and given back when dropped")] TellRoom),
    /// The shard, since the time has come.
    WakeUp,
    /// The host, having carried this obligation out.
    Obligation(ObligationId),
    /// Somebody whose answer is on its way already.
    Answered,
}

impl<K: Kind> Origin<K> {
    /// Whether it is a call for whose answer nobody waits any more.
    pub(crate) fn is_forsaken(&self) -> bool {
        matches!(self, Self::Call(to) if to.is_closed())
    }
}

/// An input on its way to an entity.
pub(crate) struct Request<K: Kind> {
    /// The entity.
    pub(crate) key: EntityKey,
    /// What is asked.
    pub(crate) input: K::Input,
    /// By whom.
    pub(crate) origin: Origin<K>,
}
