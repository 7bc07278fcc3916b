//! The rules of the shard, told with a toy kind on the memory store and the virtual clock.

mod ledger;
mod replies;
mod world;
