//! Settings of calls between the nodes of a cluster.

use std::time::Duration;

use crate::MIB;

/// Settings of calls between nodes, of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteSettings {
    /// How long a call is tried whose caller names no deadline.
    pub call_timeout: Duration,
    /// How long a peer may take to accept a connection, with looking up its address.
    pub connect_timeout: Duration,
    /// After a failure to connect, calls fail at once for this long; doubles with each failure.
    pub initial_reconnect_backoff: Duration,
    /// The longest such pause.
    pub max_reconnect_backoff: Duration,
    /// A connection is pinged this often, in use or not.
    pub keepalive_interval: Duration,
    /// A ping that a peer does not answer within this ends the connection, and the calls on it.
    pub keepalive_timeout: Duration,
    /// The same for the side that serves: what hangs on it is a quicker giving up of polls.
    pub server_keepalive_timeout: Duration,
    /// Connections to one peer. Count. Each is one task on either side, and carries any number of calls.
    pub connections_per_peer: usize,
    /// The pause before a call is tried again; doubles with each failure. A newer ring ends it early.
    pub initial_backoff: Duration,
    /// The longest such pause.
    pub max_backoff: Duration,
    /// How often a call is tried again that its owner is too busy for, or whose store is away. Count.
    pub unavailable_retries: u32,
    /// The pause before that; doubles with each.
    pub unavailable_backoff: Duration,
    /// A call in flight to a node whose shard the ring has given to another is ended after this.
    pub moved_grace: Duration,
    /// How long after its deadline the answer of a call is still waited for that keeps the deadline by itself: its way back.
    pub deadline_grace: Duration,
    /// The timeout of the call to each matching node when a worker leaves.
    pub shutdown_worker_timeout: Duration,
    /// How long matching waits for the receipt of a polled task. After that the task is taken back.
    pub receipt_timeout: Duration,
    /// One message between nodes. Bytes. Pages of history are the largest.
    pub message_bytes: usize,
    /// Flow-control window of a call. Bytes.
    pub stream_window_bytes: u32,
    /// Flow-control window of a connection. Bytes.
    pub connection_window_bytes: u32,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_millis(500),
            initial_reconnect_backoff: Duration::from_millis(20),
            max_reconnect_backoff: Duration::from_millis(500),
            keepalive_interval: Duration::from_secs(1),
            keepalive_timeout: Duration::from_secs(1),
            server_keepalive_timeout: Duration::from_secs(4),
            connections_per_peer: 1,
            initial_backoff: Duration::from_millis(10),
            max_backoff: Duration::from_millis(200),
            unavailable_retries: 3,
            unavailable_backoff: Duration::from_millis(100),
            moved_grace: Duration::from_millis(500),
            deadline_grace: Duration::from_millis(500),
            shutdown_worker_timeout: Duration::from_secs(1),
            receipt_timeout: Duration::from_secs(5),
            message_bytes: 128 * MIB,
            stream_window_bytes: 2 * MIB as u32,
            connection_window_bytes: 16 * MIB as u32,
        }
    }
}
