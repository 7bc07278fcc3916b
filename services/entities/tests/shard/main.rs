//! The rules of the shard, told with a toy kind on the memory store and the virtual clock.

mod bounds;
mod checkpoints;
mod crashes;
mod ledger;
mod obligations;
mod outcomes;
mod quarantine;
mod recovery;
mod replies;
mod wake_ups;
mod world;
