//! History on two nodes with one store: workflows of one tell workflows of the other, and shards move between them.

mod bounds;
mod clocks;
mod dumps;
mod moves;
mod relations;
mod world;
