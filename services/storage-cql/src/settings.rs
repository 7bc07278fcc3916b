//! Where the database is and how it is talked to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a store is connected to. The defaults are what a server wants, but for the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CqlSettings {
    /// Nodes to ask for the others, as `host:port` or `host`. By default 127.0.0.1:9042.
    pub contact_points: Vec<String>,
    /// The keyspace of all tables: lower-case letters, digits and underscores. By default `outlast`.
    pub keyspace: String,
    /// The datacentre whose nodes are talked to and whose quorum counts. Logs that are at home in another cannot be
    /// opened. By default `datacenter1`, which is what Cassandra and ScyllaDB call theirs by default.
    pub local_datacenter: String,
    /// The role to log in as. By default without a login.
    pub credentials: Option<Credentials>,
    /// How to encrypt. By default not at all.
    pub tls: Option<TlsSettings>,
    /// How many replicas each datacentre has. Used when the keyspace is created and held against it afterwards; if
    /// empty, a new keyspace gets three in the local datacentre, and an existing one is taken as it is.
    pub replication: BTreeMap<String, u32>,
    /// Whether a new keyspace uses ScyllaDB's tablets. By default it does not, since some of its releases cannot do
    /// conditional writes on them. Cassandra has none and is never asked for them.
    pub tablets: bool,
    /// How long each kind of request may take.
    pub timeouts: Timeouts,
    /// Connections to each node of Cassandra, or to each shard of a ScyllaDB node. By default 1, which carries
    /// thousands of requests at a time.
    pub connections: usize,
    /// How many table writes may be under way at once. Others wait. By default 128.
    pub table_writes_in_flight: usize,
    /// When logs begin a new partition, and how large groups are kept.
    pub log: LogLimits,
    /// Keeps stores apart that share a keyspace: what one has written under a name, one of another name does not see.
    /// For tests, which would otherwise have to create a keyspace each. By default empty. No slash.
    pub within: String,
}

impl Default for CqlSettings {
    fn default() -> Self {
        Self {
            contact_points: vec!["127.0.0.1:9042".to_owned()],
            keyspace: "outlast".to_owned(),
            local_datacenter: "datacenter1".to_owned(),
            credentials: None,
            tls: None,
            replication: BTreeMap::new(),
            tablets: false,
            timeouts: Timeouts::default(),
            connections: 1,
            table_writes_in_flight: 128,
            log: LogLimits::default(),
            within: String::new(),
        }
    }
}

/// How long requests may take, with all their retries, before they count as unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Resolving names, connecting and reading what nodes there are, in all. By default 10 s.
    pub connect: Duration,
    /// A conditional write. By default 3 s: Cassandra gives up on contention after 1 s and on silent replicas after 2 s,
    /// so later than that only a dead coordinator is still silent. Giving up before the database does would turn
    /// slowness into unknown outcomes, each of which costs conditional writes of its own.
    pub conditional: Duration,
    /// A read. By default 3 s.
    pub read: Duration,
    /// A table write or a chunk of a large group. By default 3 s.
    pub write: Duration,
    /// A schema change with the agreement of all nodes. By default 60 s.
    pub schema: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), conditional: seconds(3), read: seconds(3), write: seconds(3), schema: seconds(60) }
    }
}

/// The sizes at which a log changes how it stores its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// A segment that holds this much is followed by another. By default 16 MiB: far from what makes a partition slow,
    /// and what a log that is trimmed behind its head leaves on disk.
    pub segment_bytes: u64,
    /// A segment that holds this many groups is followed by another. By default 4096.
    pub segment_groups: u64,
    /// Larger groups are written beside the log, in chunks. By default 64 KiB: about there the two ways take equally long
    /// on three nodes (`examples/groups.rs`).
    pub inline_bytes: usize,
    /// The size of those chunks. By default 256 KiB.
    pub chunk_bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, segment_groups: 4096, inline_bytes: 64 << 10, chunk_bytes: 256 << 10 }
    }
}

/// A user and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Password,
}

/// A password, which does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"***\"")
    }
}

/// How connections are encrypted, and which certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificates (PEM) that may have signed those of the nodes.
    pub ca_file: PathBuf,
    /// Our own certificate chain (PEM), if the database asks for one. Needs `key_file`.
    pub certificate_file: Option<PathBuf>,
    /// The key (PEM) of our own certificate.
    pub key_file: Option<PathBuf>,
    /// Which name a node's certificate must have.
    pub server_name: ServerName,
}

/// Which name a node's certificate must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerName {
    /// The address by which the node is connected to.
    #[default]
    Address,
    /// This name, on every node.
    Fixed(String),
    /// Any: every holder of a certificate from the CA is a node. Only for a CA that signs nothing else.
    Any,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_print() {
        let credentials = Credentials { username: "outlast".into(), password: Password("hunter2".into()) };
        let settings = CqlSettings { credentials: Some(credentials), ..CqlSettings::default() };
        let printed = format!("{settings:?}");
        assert!(printed.contains("outlast") && !printed.contains("hunter2"), "{printed}");
    }
}
