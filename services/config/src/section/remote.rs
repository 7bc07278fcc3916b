//! `remote`: calls from process to process.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// Calls from process to process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Remote {
    /// How long a connection may take to come up.
    #[schemars(extend("x-least" = "50ms", "x-most" = "1m"))]
    pub connect_timeout: Span,
    /// A silent connection is pinged this often.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1m"))]
    pub keepalive_interval: Span,
    /// A ping without an answer ends the connection after this.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1m"))]
    pub keepalive_timeout: Span,
    /// How long a call goes on trying when its caller names no deadline.
    #[schemars(extend("x-least" = "1s", "x-most" = "5m"))]
    pub call_timeout: Span,
}

impl Default for Remote {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1).into(),
            keepalive_interval: Duration::from_secs(1).into(),
            keepalive_timeout: Duration::from_secs(1).into(),
            call_timeout: Duration::from_secs(10).into(),
        }
    }
}
