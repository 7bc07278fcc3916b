//! What operators see of a process: log lines, metrics, and [`health`].
//!
//! Absent on purpose: what is logged or counted; every crate does that through `tracing` and `metrics`. Only what the
//! metrics mean is in the [`CATALOGUE`]. Call both
//! functions once, before anything else starts, so that no counter is created against the recorder that forgets.

mod catalogue;
pub mod health;
mod logging;
mod metrics_endpoint;

pub use catalogue::{CATALOGUE, Metric, MetricKind, reference};
pub use logging::{LogFormat, check_level, init_logging};
pub use metrics_endpoint::{DURATION_BUCKETS, SIZE_BUCKETS, install_recorder, serve_metrics};
