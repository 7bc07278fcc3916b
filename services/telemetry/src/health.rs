//! Liveness and readiness of a process for an orchestrator, over HTTP, and its metrics on the same listener.
//!
//! | path | 200 | otherwise 503 |
//! | --- | --- | --- |
//! | /health/live | the process answers, and no part of it has failed for good | start it again |
//! | /health/startup | it has started once: store reached, schema right, joined, shards open | wait |
//! | /health/ready | every part is ready and it is not draining | send it no new calls |
//! | /metrics | always, if metrics are kept (404 otherwise) | |
//!
//! Bodies of the first three are JSON and name the parts that are in the way. Parts post their state on a
//! [`HealthBoard`] or are queried for it; each part decides what makes it ready.
//!
//! Absent on purpose: commands. Any client that reaches this listener can read and nothing else.

mod board;
mod endpoints;
mod listener;

pub use board::{HealthBoard, PartState};
pub use endpoints::Metrics;
pub use listener::serve;
