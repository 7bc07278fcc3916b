//! `frontend`: the public API.

use std::collections::BTreeMap;

use ::settings::FrontendSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, ListenAddress, Span};

/// The public API, in processes of the role `frontend`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Frontend {
    /// Where to listen for gRPC. Needed in processes of the role `frontend`. Port 0 takes any free one.
    pub listen: Option<ListenAddress>,
    /// Namespaces that are created at the start if they do not exist.
    #[schemars(extend("items" = {"type": "string", "format": "outlast-namespace"}))]
    pub namespaces: Vec<String>,
    /// All requests to one frontend, per second; twice as many in a burst. Above it: RESOURCE_EXHAUSTED.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub instance_rps: f64,
    /// Requests to one namespace on one frontend, per second; twice as many in a burst.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub namespace_rps: f64,
    /// Requests that register or update a namespace, per second on one frontend. Above it: RESOURCE_EXHAUSTED.
    #[schemars(range(min = 0.01, max = 1_000_000))]
    pub namespace_changes_rps: f64,
    /// Requests that register or update a namespace, in a burst on one frontend.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub namespace_changes_burst: f64,
    /// Namespaces that may be registered in the cluster; every process holds all of them in memory. Above it:
    /// FAILED_PRECONDITION. Several frontends that register at once may exceed it by what they register within a second.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub most_namespaces: u32,
    /// Polls of one kind that wait at a time for one namespace on one frontend.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub waiting_polls: u32,
    /// How many requests a namespace has admitted in its turn while several namespaces ask for more than there is, by its
    /// name; 1 for those that are not named.
    #[schemars(extend("additionalProperties" = {"type": "integer", "format": "uint32", "minimum": 1, "maximum": 1000}))]
    pub namespace_weights: BTreeMap<String, u32>,
    /// Connections at a time. A new one above that takes the place of one without a request: the oldest that never had
    /// one, or else the one not used for longest. It waits while all have requests.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: u32,
    /// Connections at a time from one IPv4 address, or from one /64 of IPv6. A new one above that takes the place of
    /// another one of the address without a request, or is closed while all have requests. Behind a proxy or load
    /// balancer, whose connections all come from few addresses, set it to `connections`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_address: u32,
    /// A new connection that has not completed the HTTP/2 handshake within this is closed.
    #[schemars(extend("x-least" = "100ms", "x-most" = "10m"))]
    pub handshake_within: Span,
    /// Requests at a time on one connection. A worker holds one for each of its polls.
    #[schemars(range(min = 10, max = 100_000))]
    pub streams_per_connection: u32,
    /// One request message, as sent and as decompressed.
    #[schemars(extend("x-least" = "64KiB", "x-most" = "64MiB"))]
    pub request_bytes: ByteSize,
    /// One request message in memory, once decoded: some small messages take many times what they have on the wire. What
    /// goes beyond it is refused before it is decoded.
    #[schemars(extend("x-least" = "1MiB", "x-most" = "1GiB"))]
    pub decoded_bytes: ByteSize,
    /// Elements of lists and maps in one request message, at all levels.
    #[schemars(range(min = 1000, max = 100_000_000))]
    pub request_elements: u32,
    /// All requests that arrive or are being answered, and the answers that leave; what goes beyond it is refused. Without
    /// it: its part of `memory.total`.
    #[schemars(extend("x-least" = "1MiB", "x-most" = "1TiB"))]
    pub in_flight_bytes: Option<ByteSize>,
    /// What requests of one connection may take of `in_flight_bytes`, in percent. The largest request has room in any
    /// case. Raise it where all clients come through one proxy.
    #[schemars(range(min = 1, max = 100))]
    pub connection_percent: u32,
    /// What requests to one namespace may take of `in_flight_bytes`, in percent. Raise it where there is only one.
    #[schemars(range(min = 1, max = 100))]
    pub namespace_percent: u32,
    /// What of `in_flight_bytes` is for requests that take at most 64KiB, in percent.
    #[schemars(range(min = 0, max = 90))]
    pub small_requests_percent: u32,
    /// A request of which nothing comes for this long is refused, and a connection whose peer reads nothing of an answer
    /// ends. Polls that wait for a task are neither.
    #[schemars(extend("x-least" = "1s", "x-most" = "1h"))]
    pub stalled_within: Span,
    /// A silent connection is pinged this often.
    #[schemars(extend("x-least" = "1s", "x-most" = "1h"))]
    pub keepalive_interval: Span,
    /// A ping without an answer ends the connection after this.
    #[schemars(extend("x-least" = "1s", "x-most" = "1h"))]
    pub keepalive_timeout: Span,
    /// How long requests may go on once the process stops and has no shards any more. At most
    /// `node.drain_within`.
    #[schemars(extend("x-least" = "0s", "x-most" = "1h"))]
    pub shutdown_grace: Span,
    /// How long a poll of a task queue waits for a task. Lower it below what proxies on the way allow a call to wait.
    #[schemars(extend("x-least" = "2s", "x-most" = "10m"))]
    pub task_queue_poll: Span,
    /// How long a wait for new history events lasts.
    #[schemars(extend("x-least" = "2s", "x-most" = "10m"))]
    pub history_poll: Span,
    /// Any id or name, in UTF-8: workflow, activity, signal, task queue, type, identity, request id.
    #[schemars(extend("x-least" = "64", "x-most" = "32KiB"))]
    pub id_bytes: ByteSize,
    /// A list of payloads (input, result, details, the arguments of a signal or query), or a header.
    #[schemars(extend("x-least" = "1KiB", "x-most" = "64MiB"))]
    pub blob_bytes: ByteSize,
    /// All of a memo.
    #[schemars(extend("x-least" = "1KiB", "x-most" = "64MiB"))]
    pub memo_bytes: ByteSize,
    /// Search attributes of one workflow.
    #[schemars(range(min = 1, max = 10_000))]
    pub search_attribute_keys: u32,
    /// The value of one search attribute.
    #[schemars(extend("x-least" = "64", "x-most" = "1MiB"))]
    pub search_attribute_value_bytes: ByteSize,
    /// All names and values of a workflow's search attributes.
    #[schemars(extend("x-least" = "1KiB", "x-most" = "4MiB"))]
    pub search_attributes_total_bytes: ByteSize,
    /// The shortest retention of closed workflows that a namespace may have.
    #[schemars(extend("x-least" = "1s", "x-most" = "36500d"))]
    pub shortest_retention: Span,
    /// The retention of the namespaces that are created at the start.
    #[schemars(extend("x-least" = "1s", "x-most" = "36500d"))]
    pub default_retention: Span,
}

impl Default for Frontend {
    fn default() -> Self {
        let FrontendSettings { limits, quotas, admission, transport, long_polls, namespaces, .. } =
            FrontendSettings::default();
        Self {
            listen: None,
            namespaces: Vec::new(),
            instance_rps: quotas.instance_rps,
            namespace_rps: quotas.namespace_rps,
            namespace_changes_rps: quotas.namespace_changes_rps,
            namespace_changes_burst: quotas.namespace_changes_burst,
            most_namespaces: count(namespaces.most),
            waiting_polls: count(quotas.waiting_polls),
            namespace_weights: admission.weights,
            connections: count(transport.connections),
            connections_per_address: count(transport.connections_per_address),
            handshake_within: transport.handshake_within.into(),
            streams_per_connection: transport.streams_per_connection,
            request_bytes: transport.request_bytes.into(),
            decoded_bytes: transport.decoded_bytes.into(),
            request_elements: count(transport.request_elements),
            in_flight_bytes: None,
            connection_percent: transport.connection_percent,
            namespace_percent: transport.namespace_percent,
            small_requests_percent: transport.small_requests_percent,
            stalled_within: transport.stalled_within.into(),
            keepalive_interval: transport.keepalive_interval.into(),
            keepalive_timeout: transport.keepalive_timeout.into(),
            shutdown_grace: transport.shutdown_grace.into(),
            task_queue_poll: long_polls.task_queue.into(),
            history_poll: long_polls.history.into(),
            id_bytes: limits.id_bytes.into(),
            blob_bytes: limits.blob_bytes.into(),
            memo_bytes: limits.memo_bytes.into(),
            search_attribute_keys: count(limits.search_attribute_keys),
            search_attribute_value_bytes: limits.search_attribute_value_bytes.into(),
            search_attributes_total_bytes: limits.search_attributes_total_bytes.into(),
            shortest_retention: namespaces.shortest_retention.into(),
            default_retention: namespaces.default_retention.into(),
        }
    }
}

impl Frontend {
    /// As the frontend takes it. Names and numbers of the whole cluster are left at their defaults.
    #[must_use]
    pub fn settings(&self) -> FrontendSettings {
        let mut settings = FrontendSettings::default();
        settings.quotas.instance_rps = self.instance_rps;
        settings.quotas.namespace_rps = self.namespace_rps;
        settings.quotas.namespace_changes_rps = self.namespace_changes_rps;
        settings.quotas.namespace_changes_burst = self.namespace_changes_burst;
        settings.namespaces.most = self.most_namespaces as usize;
        settings.quotas.waiting_polls = self.waiting_polls as usize;
        settings.admission.weights.clone_from(&self.namespace_weights);
        let transport = &mut settings.transport;
        transport.connections = self.connections as usize;
        transport.connections_per_address = self.connections_per_address as usize;
        transport.handshake_within = self.handshake_within.into();
        transport.streams_per_connection = self.streams_per_connection;
        transport.request_bytes = self.request_bytes.in_memory();
        transport.decoded_bytes = self.decoded_bytes.in_memory();
        transport.request_elements = self.request_elements as usize;
        transport.in_flight_bytes = self.in_flight_bytes.map_or(transport.in_flight_bytes, ByteSize::in_memory);
        transport.connection_percent = self.connection_percent;
        transport.namespace_percent = self.namespace_percent;
        transport.small_requests_percent = self.small_requests_percent;
        transport.stalled_within = self.stalled_within.into();
        transport.keepalive_interval = self.keepalive_interval.into();
        transport.keepalive_timeout = self.keepalive_timeout.into();
        transport.shutdown_grace = self.shutdown_grace.into();
        settings.long_polls.task_queue = self.task_queue_poll.into();
        settings.long_polls.history = self.history_poll.into();
        let limits = &mut settings.limits;
        limits.id_bytes = self.id_bytes.in_memory();
        limits.blob_bytes = self.blob_bytes.in_memory();
        limits.memo_bytes = self.memo_bytes.in_memory();
        limits.search_attribute_keys = self.search_attribute_keys as usize;
        limits.search_attribute_value_bytes = self.search_attribute_value_bytes.in_memory();
        limits.search_attributes_total_bytes = self.search_attributes_total_bytes.in_memory();
        settings.namespaces.shortest_retention = self.shortest_retention.into();
        settings.namespaces.default_retention = self.default_retention.into();
        settings
    }
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
