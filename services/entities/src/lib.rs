//! The shard: the one task that owns its entities' memory, decides, logs in groups, and lets nothing out before it is
//! durable (DESIGN §4). It hosts any [`Kind`] of entity: a state, its inputs, a step, and nothing else.
//!
//! Start at [`Kind`] for what an entity is, at [`ShardHandle`] for how to talk to one.

mod kind;

pub use kind::{
    BoxFuture, Corrupt, EntityKey, Env, Host, Kind, Load, ObligationId, Refusal, Release, RowAddress, StoredRow, Transition,
};
