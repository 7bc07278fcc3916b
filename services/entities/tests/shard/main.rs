//! The rules of the shard, told with a toy kind on the memory store and the virtual clock.

mod bounds;
mod checkpoints;
mod crashes;
mod kinds;
mod ledger;
mod memory;
mod obligations;
mod out_of_reach;
mod outcomes;
mod ownership;
mod quarantine;
mod recovery;
mod replicas;
mod replies;
mod ring;
mod supply;
mod tally;
mod wake_ups;
mod world;
mod zombies;
