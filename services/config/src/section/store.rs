//! `store`: where everything durable goes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HostPort, Secret, Span};

/// Where everything durable goes: exactly one of these.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Apache Cassandra 5.0 or ScyllaDB. For any number of processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cassandra: Option<Cassandra>,
    /// One file. For a single process with all roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<Sqlite>,
    /// Nothing survives the process. For a single process with all roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// The one store that was chosen.
#[derive(Clone, Copy, Debug)]
pub enum StoreChoice<'a> {
    /// Cassandra or ScyllaDB.
    Cassandra(&'a Cassandra),
    /// One file.
    Sqlite(&'a Sqlite),
    /// Nothing durable.
    Memory,
}

impl Store {
    /// What was chosen. A [`crate::Config`] that was read has exactly one; of several this is the first, of none memory.
    #[must_use]
    pub fn choice(&self) -> StoreChoice<'_> {
        match (&self.cassandra, &self.sqlite) {
            (Some(cassandra), _) => StoreChoice::Cassandra(cassandra),
            (None, Some(sqlite)) => StoreChoice::Sqlite(sqlite),
            (None, None) => StoreChoice::Memory,
        }
    }

    /// The names of those that are set.
    pub(crate) fn set(&self) -> Vec<&'static str> {
        let all = [
            ("cassandra", self.cassandra.is_some()),
            ("sqlite", self.sqlite.is_some()),
            ("memory", self.memory.is_some()),
        ];
        all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect()
    }
}

/// Cassandra or ScyllaDB.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cassandra {
    /// Some of its nodes; the others are learnt from them.
    #[schemars(length(min = 1))]
    pub contact_points: Vec<HostPort>,
    /// The keyspace. `outlast schema apply` creates it. A lower-case letter, then up to 47 lower-case letters, digits or
    /// `_`.
    #[serde(default = "usual_keyspace")]
    #[schemars(extend("format" = "outlast-keyspace"))]
    pub keyspace: String,
    /// The datacentre that this process reads and writes in, as Cassandra names it. Logs that are at home in another
    /// cannot be opened.
    #[serde(default = "usual_datacenter")]
    #[schemars(extend("minLength" = 1))]
    pub local_datacenter: String,
    /// Replicas in each datacentre. `outlast schema apply` creates the keyspace with them, and an existing one is held
    /// against them. Without it a new keyspace gets three in `local_datacenter`, and an existing one is taken as it is.
    #[serde(default)]
    #[schemars(extend("additionalProperties" = {"type": "integer", "format": "uint32", "minimum": 1, "maximum": 16}))]
    pub replication: BTreeMap<String, u32>,
    /// Whether a new keyspace uses ScyllaDB's tablets. Some of its releases cannot do conditional writes on them.
    #[serde(default)]
    pub tablets: bool,
    /// The role to log in as. Goes with `password` or `password_file`.
    #[serde(default)]
    #[schemars(extend("minLength" = 1))]
    pub username: Option<String>,
    /// The password. Better in `password_file`, or in the variable `OUTLAST__STORE__CASSANDRA__PASSWORD`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A file with the password; a line break at its end does not count. It is read at the start.
    #[serde(default)]
    #[schemars(extend("minLength" = 1))]
    pub password_file: Option<PathBuf>,
    /// How to encrypt; without it, not at all.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Resolving names, connecting, and reading what nodes there are, in all.
    #[serde(default = "usual_connect_timeout")]
    #[schemars(extend("x-least" = "100ms", "x-most" = "5m"))]
    pub connect_timeout: Span,
    /// How long a conditional write may take. One that takes longer may have happened, and finding out costs more of
    /// them; the database itself gives up after 1 s to 2 s.
    #[serde(default = "usual_timeout")]
    #[schemars(extend("x-least" = "100ms", "x-most" = "1m"))]
    pub conditional_timeout: Span,
    /// How long a read may take, with its retries.
    #[serde(default = "usual_timeout")]
    #[schemars(extend("x-least" = "100ms", "x-most" = "1m"))]
    pub read_timeout: Span,
    /// How long any other write may take, with its retries.
    #[serde(default = "usual_timeout")]
    #[schemars(extend("x-least" = "100ms", "x-most" = "1m"))]
    pub write_timeout: Span,
    /// How long a change of the schema may take, with the agreement of all nodes.
    #[serde(default = "usual_schema_timeout")]
    #[schemars(extend("x-least" = "1s", "x-most" = "1h"))]
    pub schema_timeout: Span,
    /// Connections to each node of Cassandra, or to each shard of a ScyllaDB node. One carries thousands of requests.
    #[serde(default = "usual_connections")]
    #[schemars(range(min = 1, max = 64))]
    pub connections: u32,
    /// Table writes of this process that may be under way at once. Others wait.
    #[serde(default = "usual_table_writes")]
    #[schemars(range(min = 1, max = 10_000))]
    pub table_writes_in_flight: u32,
}

fn usual_keyspace() -> String {
    "outlast".to_owned()
}

fn usual_datacenter() -> String {
    "datacenter1".to_owned()
}

fn usual_connect_timeout() -> Span {
    Duration::from_secs(10).into()
}

fn usual_timeout() -> Span {
    Duration::from_secs(3).into()
}

fn usual_schema_timeout() -> Span {
    Duration::from_secs(60).into()
}

fn usual_connections() -> u32 {
    1
}

fn usual_table_writes() -> u32 {
    128
}

/// How connections are encrypted, and which certificates are trusted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificates (PEM) that may have signed those of the nodes.
    #[schemars(extend("minLength" = 1))]
    pub ca_file: PathBuf,
    /// This process's own certificate chain (PEM), if the database asks for one. Goes with `key_file`.
    #[serde(default)]
    #[schemars(extend("minLength" = 1))]
    pub certificate_file: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    #[serde(default)]
    #[schemars(extend("minLength" = 1))]
    pub key_file: Option<PathBuf>,
    /// The name that the certificate of every node must have. Without it, the address by which it is connected to.
    #[serde(default)]
    #[schemars(extend("minLength" = 1))]
    pub server_name: Option<String>,
    /// Takes a node's certificate whatever its name. Only for a CA that signs nothing else.
    #[serde(default)]
    pub any_server_name: bool,
}

/// One file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sqlite {
    /// The file. It and its directory are created if need be.
    #[schemars(extend("minLength" = 1))]
    pub path: PathBuf,
}

/// Nothing to set.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Memory {}
