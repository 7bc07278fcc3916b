//! The service on the memory store and the virtual clock, beside a history that records starts.

#[path = "service/dice.rs"]
mod dice;
#[path = "service/history.rs"]
mod history;
#[path = "service/nodes.rs"]
mod nodes;
#[path = "service/world.rs"]
mod world;

#[path = "service/crashes.rs"]
mod crashes;
#[path = "service/delivery.rs"]
mod delivery;
#[path = "service/moves.rs"]
mod moves;
#[path = "service/moving.rs"]
mod moving;
#[path = "service/partitions.rs"]
mod partitions;
#[path = "service/queries.rs"]
mod queries;
#[path = "service/sticky.rs"]
mod sticky;
#[path = "service/waiting.rs"]
mod waiting;
#[path = "service/workers.rs"]
mod workers;
