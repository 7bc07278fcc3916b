//! `remote`: calls from process to process.

use ::settings::RemoteSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::frontend::count;
use crate::{ByteSize, Span};

/// Calls from process to process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Remote {
    /// How long a peer may take to accept a connection, with looking up its address. At most `call_timeout`.
    #[schemars(extend("x-least" = "50ms", "x-most" = "1m"))]
    pub connect_timeout: Span,
    /// A connection is pinged this often, in use or not.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1m"))]
    pub keepalive_interval: Span,
    /// A ping without an answer ends the connection, and the calls on it, after this.
    #[schemars(extend("x-least" = "100ms", "x-most" = "1m"))]
    pub keepalive_timeout: Span,
    /// How long a call goes on trying when its caller names no deadline.
    #[schemars(extend("x-least" = "1s", "x-most" = "5m"))]
    pub call_timeout: Span,
    /// Connections to one peer. Each carries any number of calls, and is one task on either side.
    #[schemars(range(min = 1, max = 64))]
    pub connections_per_peer: u32,
    /// One message between processes. Pages of history are the largest.
    #[schemars(extend("x-least" = "4MiB", "x-most" = "1GiB"))]
    pub message_bytes: ByteSize,
}

impl Default for Remote {
    fn default() -> Self {
        let settings = RemoteSettings::default();
        Self {
            connect_timeout: settings.connect_timeout.into(),
            keepalive_interval: settings.keepalive_interval.into(),
            keepalive_timeout: settings.keepalive_timeout.into(),
            call_timeout: settings.call_timeout.into(),
            connections_per_peer: count(settings.connections_per_peer),
            message_bytes: settings.message_bytes.into(),
        }
    }
}

impl Remote {
    /// As calls between processes take it.
    #[must_use]
    pub fn settings(&self) -> RemoteSettings {
        RemoteSettings {
            connect_timeout: self.connect_timeout.into(),
            keepalive_interval: self.keepalive_interval.into(),
            keepalive_timeout: self.keepalive_timeout.into(),
            call_timeout: self.call_timeout.into(),
            connections_per_peer: self.connections_per_peer as usize,
            message_bytes: self.message_bytes.in_memory(),
            ..RemoteSettings::default()
        }
    }
}
