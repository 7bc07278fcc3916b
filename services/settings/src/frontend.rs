//! Settings of the frontend.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{KIB, MIB, RequestLimits};

/// Settings of one frontend.
#[derive(Clone, Debug, PartialEq)]
pub struct FrontendSettings {
    /// Bounds of single requests.
    pub limits: RequestLimits,
    /// Bounds of request rates and of polls that wait.
    pub quotas: QuotaSettings,
    /// Turns of namespaces that ask for something at the same time.
    pub admission: AdmissionSettings,
    /// HTTP/2 and gRPC.
    pub transport: TransportSettings,
    /// How long calls wait.
    pub long_polls: LongPollSettings,
    /// Namespaces.
    pub namespaces: NamespaceSettings,
    /// What GetSystemInfo and GetClusterInfo say. SDKs, CLI and UI read it as a semantic version of the API's server; the
    /// build part names this one.
    pub server_version: String,
    /// The name of this cluster.
    pub cluster_name: String,
    /// History shards, as GetClusterInfo returns them. Count.
    pub history_shards: i32,
    /// The name of the store, as GetClusterInfo returns it.
    pub persistence_store: String,
    /// The name of the visibility store, as GetClusterInfo returns it; empty while there is none.
    pub visibility_store: String,
}

impl Default for FrontendSettings {
    fn default() -> Self {
        Self {
            limits: RequestLimits::default(),
            quotas: QuotaSettings::default(),
            admission: AdmissionSettings::default(),
            transport: TransportSettings::default(),
            long_polls: LongPollSettings::default(),
            namespaces: NamespaceSettings::default(),
            server_version: format!("1.31.0+outlast.{}", env!("CARGO_PKG_VERSION")),
            cluster_name: "active".to_owned(),
            history_shards: 4,
            persistence_store: "memory".to_owned(),
            visibility_store: String::new(),
        }
    }
}

/// Request rates and waiting polls. The public server allows 2400 requests a second by default; one machine of this
/// server carries more, so the defaults only stop runaway callers.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaSettings {
    /// All requests to one frontend. Per second; twice as many in a burst.
    pub instance_rps: f64,
    /// Requests to one namespace on one frontend. Per second; twice as many in a burst.
    pub namespace_rps: f64,
    /// Requests that register or update a namespace, on one frontend. Per second.
    pub namespace_changes_rps: f64,
    /// The same in a burst. Count.
    pub namespace_changes_burst: f64,
    /// Polls of one kind that wait at a time for one namespace on one frontend. Count.
    pub waiting_polls: usize,
}

impl Default for QuotaSettings {
    fn default() -> Self {
        Self {
            instance_rps: 40_000.0,
            namespace_rps: 20_000.0,
            namespace_changes_rps: 20.0,
            namespace_changes_burst: 100.0,
            waiting_polls: 1200,
        }
    }
}

/// Turns of namespaces that ask for something at the same time.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmissionSettings {
    /// How many requests a namespace has admitted in its turn, by its name; 1 for those that are not named. Count.
    pub weights: BTreeMap<String, u32>,
    /// So long after the turn has passed from one namespace to another, several are taken to ask for something.
    pub contended_for: Duration,
    /// While a ready task waits longer than this for a thread, less is admitted.
    pub lag: Duration,
    /// What is admitted at a time at least, of all namespaces, while several ask. Count; a large request is several.
    pub least: usize,
    /// The same, at most. Count.
    pub most: usize,
    /// Requests of one namespace that wait for their turn. Count. Refuses what goes beyond it.
    pub waiting: usize,
    /// New work is refused while the first of its namespace has waited longer than this for its turn.
    pub longest_wait: Duration,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            weights: BTreeMap::new(),
            contended_for: Duration::from_secs(1),
            lag: Duration::from_millis(1),
            least: 4,
            most: 1024,
            waiting: 10_000,
            longest_wait: Duration::from_secs(5),
        }
    }
}

/// HTTP/2 and gRPC.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportSettings {
    /// One request message, as sent and as decompressed. Bytes. Clients read the number in the error.
    pub request_bytes: usize,
    /// One request message once decoded, at most, as estimated from its undecoded bytes. Bytes.
    pub decoded_bytes: usize,
    /// Elements of lists and maps in one request message, at all levels. Count.
    pub request_elements: usize,
    /// All requests that arrive or are being answered, and the answers that leave. Bytes. Refuses what goes beyond it.
    pub in_flight_bytes: usize,
    /// What requests of one connection may take of it. Percent. The largest request has room in any case.
    pub connection_percent: u32,
    /// What requests to one namespace may take of it, once it is known. Percent.
    pub namespace_percent: u32,
    /// What of it is for small requests only, up to 64 KiB. Percent.
    pub small_requests_percent: u32,
    /// A request of which nothing comes for this long is refused, and a connection whose peer reads nothing of an answer
    /// ends. Polls that wait are neither.
    pub stalled_within: Duration,
    /// Smaller responses are not compressed: it costs more than it saves. Bytes.
    pub compress_from_bytes: usize,
    /// Requests at a time on one connection. Count. An SDK worker holds one for each of its polls.
    pub streams_per_connection: u32,
    /// The header block of one request. Bytes.
    pub header_bytes: u32,
    /// Streams that a client reset and the server still has to look at; more ends the connection. Count.
    pub pending_resets: usize,
    /// Connections at a time. A new one above that takes the place of the one without a request that is missed least, or
    /// waits while all have requests. Count.
    pub connections: usize,
    /// Connections at a time from one IPv4 address or one /64 of IPv6. A new one above that takes the place of another
    /// one of that address, or is closed while all have requests. Count.
    pub connections_per_address: usize,
    /// A new connection must complete the HTTP/2 handshake within this, up to its SETTINGS.
    pub handshake_within: Duration,
    /// A silent connection is pinged this often.
    pub keepalive_interval: Duration,
    /// A ping without an answer ends the connection after this.
    pub keepalive_timeout: Duration,
    /// Flow-control window of a stream. Bytes.
    pub stream_window_bytes: u32,
    /// Flow-control window of a connection. Bytes.
    pub connection_window_bytes: u32,
    /// How long requests may go on once the server stops.
    pub shutdown_grace: Duration,
    /// An error's text. Characters.
    pub error_message_chars: usize,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            request_bytes: 4 * MIB,
            decoded_bytes: 32 * MIB,
            request_elements: 100_000,
            in_flight_bytes: 256 * MIB,
            connection_percent: 25,
            namespace_percent: 50,
            small_requests_percent: 12,
            stalled_within: Duration::from_secs(30),
            compress_from_bytes: 4 * KIB,
            streams_per_connection: 1000,
            header_bytes: 16 * KIB as u32,
            pending_resets: 20,
            connections: 10_000,
            connections_per_address: 2_500,
            handshake_within: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            stream_window_bytes: MIB as u32,
            connection_window_bytes: 4 * MIB as u32,
            shutdown_grace: Duration::from_secs(5),
            error_message_chars: 4000,
        }
    }
}

/// How long calls wait for something to happen.
#[derive(Clone, Debug, PartialEq)]
pub struct LongPollSettings {
    /// A poll of a task queue.
    pub task_queue: Duration,
    /// A wait for new history events.
    pub history: Duration,
    /// An update that has not come as far as its caller wants: the answer says how far it has come. Twenty seconds, as in the public server.
    pub update: Duration,
    /// A query, when its caller names no deadline.
    pub query: Duration,
    /// The answer leaves this long before the caller's deadline.
    pub margin: Duration,
    /// A poll whose caller waits less than this is refused.
    pub shortest: Duration,
}

impl Default for LongPollSettings {
    fn default() -> Self {
        Self {
            task_queue: Duration::from_secs(60),
            history: Duration::from_secs(20),
            update: Duration::from_secs(20),
            query: Duration::from_secs(10),
            margin: Duration::from_secs(1),
            shortest: Duration::from_secs(2),
        }
    }
}

/// Namespaces.
#[derive(Clone, Debug, PartialEq)]
pub struct NamespaceSettings {
    /// Namespaces that may be registered in the cluster. Every process holds them all in memory. Count.
    pub most: usize,
    /// The shortest retention of closed workflows.
    pub shortest_retention: Duration,
    /// The retention of a namespace that the server creates by itself.
    pub default_retention: Duration,
    /// Whether a worker's shutdown completes its polls: true once matching does so.
    pub poll_completes_on_shutdown: bool,
}

impl Default for NamespaceSettings {
    fn default() -> Self {
        Self {
            most: 10_000,
            shortest_retention: Duration::from_secs(3600),
            default_retention: Duration::from_secs(3 * 24 * 3600),
            poll_completes_on_shutdown: true,
        }
    }
}
