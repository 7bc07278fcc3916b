//! History on two nodes with one store: workflows of one send messages to workflows of the other, and shards move between them.

mod bounds;
mod clocks;
mod dumps;
mod moves;
mod relations;
mod world;
