//! From a configuration file to what the parts of a server take.

use cluster::{NodeId, Role};
use config::{Config, StoreChoice as Chosen};
use membership::{ClusterSettings as Founding, InitialVoter, MemberSettings, VoterSettings};
use storage_cql::{CqlSettings, Credentials, Password, ServerName, Timeouts, TlsSettings};

use crate::settings::ClusterSettings;
use crate::{ServerSettings, StoreChoice};

impl ServerSettings {
    /// The settings of a process of a cluster.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let defaults = Self::default();
        let front = config.frontend.listen.map(|listen| listen.socket());
        let mut frontend = config.frontend.settings();
        frontend.cluster_name.clone_from(&config.cluster.name);
        Self {
            roles: config.node.roles.iter().map(|role| role_of(*role)).collect(),
            ip: front.map_or(defaults.ip, |front| front.ip()),
            port: front.map_or(0, |front| front.port()),
            metrics_port: None,
            store: store(config),
            namespaces: config.frontend.namespaces.clone(),
            history_shards: config.cluster.history_shards,
            matching_shards: config.cluster.matching_shards,
            history: config.history.settings(),
            shards: config.shards.settings(),
            matching: config.matching.settings(),
            frontend,
            store_cache_bytes: config.store_cache_bytes(),
            cluster: Some(cluster(config)),
        }
    }
}

fn role_of(role: config::Role) -> Role {
    match role {
        config::Role::Frontend => Role::Frontend,
        config::Role::History => Role::History,
        config::Role::Matching => Role::Matching,
        config::Role::Membership => Role::Membership,
    }
}

fn cluster(config: &Config) -> ClusterSettings {
    let founding = Founding {
        name: config.cluster.name.clone(),
        history_shards: config.cluster.history_shards,
        matching_shards: config.cluster.matching_shards,
    };
    let (node, address) = (NodeId::new(&*config.node.id), config.advertised().unwrap_or_default());
    let initial_voters: Vec<InitialVoter> = config
        .membership
        .initial_voters
        .iter()
        .map(|voter| InitialVoter { id: NodeId::new(&*voter.id), address: voter.address.to_string() })
        .collect();
    let mut seeds: Vec<String> = config.membership.seeds.iter().map(ToString::to_string).collect();
    // A voter of the first hour finds the others by their list.
    for voter in &initial_voters {
        if !seeds.contains(&voter.address) {
            seeds.push(voter.address.clone());
        }
    }
    let timings = config.membership.settings();
    let voter = config.plays(config::Role::Membership).then(|| VoterSettings {
        cluster: founding.clone(),
        node: node.clone(),
        address: address.clone(),
        data_dir: config.membership.data_dir.clone().unwrap_or_default(),
        initial_voters,
        timings: timings.clone(),
    });
    let member = MemberSettings {
        cluster: founding,
        node,
        roles: config.node.roles.iter().map(|role| role_of(*role)).collect(),
        address,
        zone: config.node.zone.clone(),
        weight: config.node.weight,
        seeds,
        timings,
    };
    ClusterSettings {
        internal: config.internal.listen.socket(),
        http: Some(config.http.listen.socket()),
        member,
        voter,
        remote: config.remote.settings(),
        drain_within: config.node.drain_within.duration(),
        takes_over: config.cluster.takes_over.clone(),
    }
}

fn store(config: &Config) -> StoreChoice {
    match config.store.choice() {
        Chosen::Memory => StoreChoice::Memory,
        Chosen::Sqlite(sqlite) => StoreChoice::File(sqlite.path.clone()),
        Chosen::Cassandra(cassandra) => StoreChoice::Cassandra(Box::new(cql_settings(cassandra))),
    }
}

/// How the database of a configuration is connected to; for commands that only do that.
#[must_use]
pub fn cql_settings(cassandra: &config::Cassandra) -> CqlSettings {
    let credentials = cassandra.username.as_ref().map(|username| Credentials {
        username: username.clone(),
        password: Password(cassandra.password.as_ref().map(|secret| secret.reveal().to_owned()).unwrap_or_default()),
    });
    let tls = cassandra.tls.as_ref().map(|tls| TlsSettings {
        ca_file: tls.ca_file.clone(),
        certificate_file: tls.certificate_file.clone(),
        key_file: tls.key_file.clone(),
        server_name: match (&tls.server_name, tls.any_server_name) {
            (_, true) => ServerName::Any,
            (Some(name), false) => ServerName::Fixed(name.clone()),
            (None, false) => ServerName::Address,
        },
    });
    CqlSettings {
        contact_points: cassandra.contact_points.iter().map(ToString::to_string).collect(),
        keyspace: cassandra.keyspace.clone(),
        local_datacenter: cassandra.local_datacenter.clone(),
        credentials,
        tls,
        replication: cassandra.replication.clone(),
        tablets: cassandra.tablets,
        timeouts: Timeouts {
            connect: cassandra.connect_timeout.duration(),
            conditional: cassandra.conditional_timeout.duration(),
            read: cassandra.read_timeout.duration(),
            write: cassandra.write_timeout.duration(),
            schema: cassandra.schema_timeout.duration(),
        },
        connections: cassandra.connections as usize,
        table_writes_in_flight: cassandra.table_writes_in_flight as usize,
        ..CqlSettings::default()
    }
}
