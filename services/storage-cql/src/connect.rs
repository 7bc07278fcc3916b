//! From settings to a session, or to a clear reason why not.

mod cause;

use std::num::NonZeroUsize;
use std::time::Duration;

use runtime::Runtime;
use scylla::client::PoolSize;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use crate::schema::SchemaState;
use crate::settings::CqlSettings;
use crate::tls;

pub use crate::tls::TlsError;

/// How often a connection is probed, by requests that cost the database next to nothing.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
/// How long it may be silent then. A node that is paused longer is gone round; one that collects garbage is waited for.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(4);

/// Why a store could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting that cannot be right.
    #[error("{field} {value:?} is not allowed: {allowed}")]
    Setting {
        /// Its name.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be.
        allowed: &'static str,
    },
    /// The certificates cannot be used.
    #[error("database TLS: {0}")]
    Tls(#[from] TlsError),
    /// It, or we, broke off while logging in or agreeing on encryption. Trying again does not mend it.
    #[error("the database at {} rejected the login: {reason}", .contact_points.join(", "))]
    Refused {
        /// The addresses that were tried.
        contact_points: Vec<String>,
        /// Why, and which settings to look at.
        reason: String,
    },
    /// No node answered, or not as a database does.
    #[error("no database answers at {}: {reason}", .contact_points.join(", "))]
    Unreachable {
        /// The addresses that were tried.
        contact_points: Vec<String>,
        /// What came back.
        reason: String,
    },
    /// The database has no node in the configured datacenter.
    #[error("the database has no node in the local datacenter {wanted:?}: it has {}", .found.join(", "))]
    NoSuchDatacenter {
        /// The local datacentre as configured.
        wanted: String,
        /// Those that there are.
        found: Vec<String>,
    },
    /// The tables are not those of this release.
    #[error("{0}")]
    Schema(SchemaState),
    /// The keyspace or its tables are set up so that acknowledged writes could be lost.
    #[error("keyspace {keyspace} is not safe to use: {}", .findings.join("; "))]
    Unsafe {
        /// The keyspace.
        keyspace: String,
        /// What is wrong, and what to do.
        findings: Vec<String>,
    },
    /// A request at start failed.
    #[error("cannot use the database: {0}")]
    Failed(String),
}

/// A session with the nodes of the local datacentre. Ends within the timeout for connecting, whatever answers.
pub(crate) async fn session(settings: &CqlSettings, runtime: &Runtime) -> Result<Session, ConnectError> {
    check(settings)?;
    let unreachable =
        |reason: String| ConnectError::Unreachable { contact_points: settings.contact_points.clone(), reason };
    let builder = builder(settings)?;
    let limit = settings.timeouts.connect;
    let session = match runtime.timeout(limit, builder.build()).await {
        None => return Err(unreachable(format!("no answer within {} s", limit.as_secs_f64()))),
        Some(Err(error)) => return Err(cause::explain(&error, settings)),
        Some(Ok(session)) => session,
    };
    let nodes = session.get_cluster_state();
    let mut found: Vec<_> = nodes.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
    found.sort();
    found.dedup();
    if !found.contains(&settings.local_datacenter) {
        return Err(ConnectError::NoSuchDatacenter { wanted: settings.local_datacenter.clone(), found });
    }
    Ok(session)
}

fn builder(settings: &CqlSettings) -> Result<SessionBuilder, ConnectError> {
    let mut builder = SessionBuilder::new()
        .known_nodes(&settings.contact_points)
        .prefer_datacenter(settings.local_datacenter.clone())
        .connection_timeout(settings.timeouts.connect / 2)
        .hostname_resolution_timeout(Some(settings.timeouts.connect / 2))
        .metadata_request_serverside_timeout(settings.timeouts.connect / 2)
        .metadata_request_clientside_timeout(settings.timeouts.connect / 2)
        .keepalive_interval(KEEPALIVE_EVERY)
        .keepalive_timeout(KEEPALIVE_TIMEOUT)
        .schema_agreement_timeout(settings.timeouts.schema)
        .keyspaces_to_fetch([settings.keyspace.clone()]);
    if let Some(connections) = NonZeroUsize::new(settings.connections) {
        builder = builder.pool_size(PoolSize::PerShard(connections));
    }
    if let Some(credentials) = &settings.credentials {
        builder = builder.user(&credentials.username, &credentials.password.0);
    }
    if let Some(settings) = &settings.tls {
        builder = builder.tls_context(Some(tls::client_config(settings)?));
    }
    Ok(builder)
}

fn check(settings: &CqlSettings) -> Result<(), ConnectError> {
    let wrong = |field, value: &str, allowed| Err(ConnectError::Setting { field, value: value.to_owned(), allowed });
    if settings.contact_points.is_empty() {
        return wrong("contact_points", "", "name at least one node");
    }
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !is_name(&settings.keyspace) || !settings.keyspace.starts_with(|first: char| first.is_ascii_lowercase()) {
        return wrong("keyspace", &settings.keyspace, "a lower-case letter, then lower-case letters, digits or _");
    }
    if settings.keyspace.len() > 48 {
        return wrong("keyspace", &settings.keyspace, "at most 48 letters");
    }
    if settings.local_datacenter.is_empty() {
        return wrong("local_datacenter", "", "the name of a datacentre");
    }
    if settings.connections == 0 {
        return wrong("connections", "0", "at least 1");
    }
    if settings.table_writes_in_flight == 0 {
        return wrong("table_writes_in_flight", "0", "at least 1");
    }
    if settings.within.contains('/') {
        return wrong("within", &settings.within, "anything without a slash");
    }
    if settings.log.chunk_bytes == 0 || settings.log.segment_groups == 0 {
        return wrong("log", &format!("{:?}", settings.log), "chunks of at least 1 byte, segments of at least 1 group");
    }
    Ok(())
}
