//! The rules of the shard, shown with a toy kind on the memory store and the virtual clock.

mod bounds;
mod checkpoints;
mod crashes;
mod kinds;
mod ledger;
mod memory;
mod obligations;
mod outcomes;
mod ownership;
mod quarantine;
mod recovery;
mod replicas;
mod replies;
mod ring;
mod supply;
mod tally;
mod unreachable_rows;
mod wake_ups;
mod world;
mod zombies;
