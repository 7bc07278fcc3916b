//! How a process tells what it does: log lines and metrics.
//!
//! Absent on purpose: what is logged or counted; every crate does that through `tracing` and `metrics`. Call both
//! functions once, before anything else starts, so that no counter is created against the recorder that forgets.

mod logging;
mod metrics_endpoint;

pub use logging::{LogFormat, check_level, init_logging};
pub use metrics_endpoint::{DURATION_BUCKETS, SIZE_BUCKETS, install_recorder, serve_metrics};
