//! Every metric of the process, in one list, with the descriptions that `/metrics` shows.
//!
//! A name that is counted somewhere and not listed here fails the tests of this crate, and so does the reverse.

use metrics::Unit;

/// What a metric does with its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Rises, and begins at 0 with the process.
    Counter,
    /// As it is now.
    Gauge,
    /// Counts values by size.
    Histogram,
}

/// A metric and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it does with its values.
    pub kind: MetricKind,
    /// Of what it counts.
    pub unit: Unit,
    /// The labels of its series.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, unit: Unit::Count, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, unit: Unit::Count, labels, help }
}

const fn seconds(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, unit: Unit::Seconds, labels, help }
}

const fn bytes(metric: Metric) -> Metric {
    Metric { unit: Unit::Bytes, ..metric }
}

/// All of them, by name.
pub const CATALOGUE: &[Metric] = &[
    counter("outlast_clock_jumps_total", &["direction"], "Times that the wall clock was set, back or forward."),
    seconds(
        "outlast_cql_request_seconds",
        &["kind"],
        "How long requests to Cassandra or ScyllaDB took, retries included.",
    ),
    counter(
        "outlast_cql_requests_total",
        &["kind"],
        "Requests to Cassandra or ScyllaDB that have ended, however they did.",
    ),
    counter(
        "outlast_cql_unknown_outcomes_total",
        &["kind"],
        "Requests to Cassandra or ScyllaDB of which it is not known whether they took effect.",
    ),
    counter(
        "outlast_frontend_admission_refused_total",
        &[],
        "Requests refused because too many of their namespace wait for their turn, or the first waits too long.",
    ),
    counter(
        "outlast_frontend_connections_closed_total",
        &["bound"],
        "Connections closed because of a bound on their number, by the bound.",
    ),
    counter(
        "outlast_frontend_errors_total",
        &["rpc", "code"],
        "Requests answered with an error, by RPC and gRPC code.",
    ),
    bytes(gauge("outlast_frontend_held_bytes", &[], "Memory that requests and their answers hold.")),
    counter(
        "outlast_frontend_memory_refusals_total",
        &["reason"],
        "Requests refused for the memory that they take, by whose bound they met.",
    ),
    counter("outlast_frontend_panics_total", &[], "Handlers of requests that panicked: bugs."),
    seconds(
        "outlast_frontend_request_seconds",
        &["rpc"],
        "How long requests took from headers to answer, polls included.",
    ),
    counter("outlast_frontend_requests_total", &["rpc"], "Requests answered."),
    bytes(counter(
        "outlast_log_append_bytes_total",
        &[],
        "Bytes in the groups that were appended to the logs of shards.",
    )),
    counter("outlast_log_appends_total", &[], "Groups appended to the logs of shards."),
    counter("outlast_matching_persisted_total", &[], "Tasks persisted because no poller was there."),
    gauge("outlast_matching_pollers", &[], "Polls that wait for a task."),
    counter("outlast_matching_polls_total", &[], "Polls begun."),
    counter("outlast_matching_sync_match_total", &[], "Tasks that met a poller at once."),
    counter(
        "outlast_matching_unwritten_total",
        &[],
        "Tasks taken back because the worker was gone before they were written.",
    ),
    Metric {
        unit: Unit::Seconds,
        ..gauge(
            "outlast_membership_clock_offset_seconds",
            &["node"],
            "How far a node's clock is ahead of the leader's.",
        )
    },
    counter("outlast_membership_expiries_total", &[], "Nodes whose lease ran out, as this process as leader saw it."),
    counter("outlast_membership_leader_changes_total", &[], "Times that this process became the leader."),
    gauge("outlast_membership_leading", &[], "1 while this process leads the cluster, else 0."),
    gauge("outlast_membership_nodes", &["state"], "Nodes of the cluster, by what they are doing."),
    gauge("outlast_membership_ring_version", &["seen_by"], "The version of the ring, as this process knows it."),
    bytes(gauge("outlast_memory_bound_bytes", &["part"], "Memory that a part of the process may take.")),
    bytes(gauge("outlast_memory_bytes", &["part"], "Memory that a part of the process takes.")),
    seconds("outlast_remote_call_seconds", &["method"], "How long calls to other nodes took until they were answered."),
    gauge("outlast_remote_calls_in_flight", &["method"], "Calls to other nodes that are not answered yet."),
    counter("outlast_remote_calls_total", &["method", "outcome"], "Calls to other nodes, by how they ended."),
    gauge("outlast_remote_peers", &[], "Nodes to which this one has a connection."),
    counter(
        "outlast_remote_retries_total",
        &["method", "reason"],
        "Calls to other nodes that were tried again, by why.",
    ),
    counter("outlast_shard_changes_total", &["kind"], "Changes that were logged."),
    counter("outlast_shard_checkpoints_total", &["service"], "Batches of entities that were written to the tables."),
    bytes(gauge("outlast_shard_dirty_bytes", &["log"], "Memory of the entities that the tables do not show yet.")),
    gauge("outlast_shard_dirty_entities", &["log"], "Entities that the tables do not show yet."),
    counter("outlast_shard_evictions_total", &["kind"], "Entities dropped from memory."),
    counter("outlast_shard_groups_total", &["service"], "Groups of changes that became durable together."),
    bytes(gauge("outlast_shard_loaded_bytes", &["log"], "Memory of the entities that are loaded.")),
    gauge("outlast_shard_loaded_entities", &["log"], "Entities that are loaded."),
    counter("outlast_shard_loads_total", &["kind"], "Entities loaded from the tables."),
    bytes(gauge("outlast_shard_log_bytes", &["log"], "Bytes in the log that a new owner would read.")),
    counter("outlast_shard_openings_total", &["service"], "Attempts to open a shard."),
    counter(
        "outlast_shard_quarantined_total",
        &["kind"],
        "Entities put in quarantine because what is stored of them cannot be used.",
    ),
    counter(
        "outlast_shard_unknown_appends_total",
        &["service"],
        "Appends to a log of which it was not known at first whether they took effect.",
    ),
    gauge("outlast_shard_wake_ups", &["log"], "Entities with a wake-up."),
    gauge(
        "outlast_shards_corrupt",
        &["service"],
        "Shards that the ring gives to this node and whose log cannot be read.",
    ),
    gauge("outlast_shards_open", &["service"], "Shards that this node serves."),
    gauge(
        "outlast_shards_unserved",
        &["service"],
        "Shards that the ring gives to this node and that it does not serve yet.",
    ),
    counter("outlast_store_checkpoints_total", &[], "Times that SQLite's write-ahead log was copied into the file."),
    counter("outlast_store_fsyncs_total", &[], "Commits of SQLite, each with one fsync."),
    counter("outlast_store_reads_total", &[], "Rows, pages, log tails and registry entries read from SQLite."),
    counter("outlast_table_rows_deleted_total", &[], "Rows deleted from the tables."),
    counter("outlast_table_rows_written_total", &[], "Rows written to the tables."),
];

/// Registers the metrics' descriptions with the recorder of this process.
pub(crate) fn describe() {
    for Metric { name, kind, unit, help, .. } in CATALOGUE {
        match kind {
            MetricKind::Counter => metrics::describe_counter!(*name, *unit, *help),
            MetricKind::Gauge => metrics::describe_gauge!(*name, *unit, *help),
            MetricKind::Histogram => metrics::describe_histogram!(*name, *unit, *help),
        }
    }
}

/// The list as a table in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut table = "| metric | kind | labels | what it says |\n| --- | --- | --- | --- |\n".to_owned();
    for Metric { name, kind, labels, help, .. } in CATALOGUE {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        table.push_str(&format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", ")));
    }
    table
}
