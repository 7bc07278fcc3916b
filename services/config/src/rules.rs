//! What must hold between keys, after each is right by itself.

use std::collections::BTreeSet;
use std::path::Path;

use crate::shares::Shares;
use crate::tree::Tree;
use crate::{Cassandra, Config, ListenAddress, Problem, Role, Secret};

/// Passwords are short; this is some other file.
const LARGEST_PASSWORD: u64 = 4096;

/// Every broken rule. Reads the password from its file.
pub(crate) fn check(config: &mut Config, tree: &Tree) -> Vec<Problem> {
    let shares = Shares::fill(config);
    let mut broken = Broken { tree, found: Vec::new() };
    broken.roles(config);
    broken.addresses(config);
    broken.store(config);
    broken.membership(config);
    broken.bounds(config, &shares);
    broken.memory(&shares);
    if let Some(cassandra) = &mut config.store.cassandra {
        broken.cassandra(cassandra);
    }
    broken.found
}

struct Broken<'a> {
    tree: &'a Tree,
    found: Vec<Problem>,
}

impl Broken<'_> {
    fn say(&mut self, path: &str, text: String) {
        let problem = match self.tree.find(path) {
            Some(at) => Problem::at(path, &at.origin, text),
            None => Problem::missing(path, text),
        };
        self.found.push(problem);
    }

    fn roles(&mut self, config: &Config) {
        let roles = &config.node.roles;
        if roles.is_empty() {
            let all = Role::ALL.map(Role::name).join(", ");
            self.say("node.roles", format!("`node.roles` is empty, at least one of {all} is needed, or --role"));
        }
        let twice = Role::ALL.into_iter().find(|role| roles.iter().filter(|given| *given == role).count() > 1);
        if let Some(role) = twice {
            self.say("node.roles", format!("`node.roles` has {role} twice"));
        }
        if roles.contains(&Role::Frontend) && config.frontend.listen.is_none() {
            let text = "`frontend.listen` is not set, and the role frontend needs it: the address of the public API";
            self.say("frontend.listen", text.to_owned());
        }
    }

    fn addresses(&mut self, config: &Config) {
        let listen = config.internal.listen;
        if config.internal.advertise.is_none() && listen.socket().ip().is_unspecified() {
            let text = format!(
                "`internal.advertise` is not set, and other nodes cannot connect to `internal.listen`, {listen}: a host and a \
                 port by which other processes reach this one are needed"
            );
            self.say("internal.advertise", text);
        }
        let mut taken: Vec<(&str, ListenAddress)> = vec![("internal.listen", listen)];
        let frontend = config.frontend.listen.filter(|_| config.plays(Role::Frontend));
        for (path, address) in [("http.listen", Some(config.http.listen)), ("frontend.listen", frontend)] {
            let Some(address) = address else { continue };
            match taken.iter().find(|(_, other)| clash(*other, address)) {
                Some((other, _)) => {
                    self.say(
                        path,
                        format!("`{path}` is {address}, which `{other}` takes already: another port is needed"),
                    );
                }
                None => taken.push((path, address)),
            }
        }
    }

    fn store(&mut self, config: &Config) {
        let set = config.store.set();
        match set.as_slice() {
            ["cassandra"] => {}
            [only] => self.alone(config, only),
            [] => self.say("store", "`store` is empty, one of cassandra, sqlite or memory is needed".to_owned()),
            _ => self.say("store", format!("`store` has {}, one of them is needed and no more", set.join(" and "))),
        }
    }

    /// A store that only one process can use.
    fn alone(&mut self, config: &Config, store: &str) {
        let missing: Vec<&str> = Role::ALL
            .into_iter()
            .filter(|role| !config.node.roles.is_empty() && !config.plays(*role))
            .map(Role::name)
            .collect();
        if !missing.is_empty() {
            let text = format!(
                "`store.{store}` is of one process, and this one lacks the roles {}: give it all of them, or use \
                 `store.cassandra`",
                missing.join(", ")
            );
            self.say(&format!("store.{store}"), text);
        }
        let own = |id: &str| id == config.node.id;
        let others = config.membership.initial_voters.iter().any(|voter| !own(&voter.id));
        for (key, named) in [("initial_voters", others), ("seeds", !config.membership.seeds.is_empty())] {
            if named {
                let path = format!("membership.{key}");
                let text =
                    format!("`{path}` names other processes, and `store.{store}` is of one: use `store.cassandra`");
                self.say(&path, text);
            }
        }
    }

    fn membership(&mut self, config: &Config) {
        let membership = &config.membership;
        let (voters, votes) = (&membership.initial_voters, config.plays(Role::Membership));
        if votes && membership.data_dir.is_none() {
            let text = "`membership.data_dir` is not set, and the role membership needs it: a directory that stays";
            self.say("membership.data_dir", text.to_owned());
        }
        if ![0, 1, 3, 5].contains(&voters.len()) {
            let text = format!("`membership.initial_voters` has {} entries, 1, 3 or 5 are allowed", voters.len());
            self.say("membership.initial_voters", text);
        }
        let ids: BTreeSet<_> = voters.iter().map(|voter| &voter.id).collect();
        let addresses: BTreeSet<_> = voters.iter().map(|voter| &voter.address).collect();
        if ids.len() < voters.len() || addresses.len() < voters.len() {
            let text = "`membership.initial_voters` has an id or an address twice".to_owned();
            self.say("membership.initial_voters", text);
        }
        let own = voters.iter().find(|voter| voter.id == config.node.id);
        if let Some(own) = own {
            if !votes && !config.node.roles.is_empty() {
                let text =
                    format!("`node.roles` lacks membership, and {} is one of `membership.initial_voters`", own.id);
                self.say("node.roles", text);
            }
            if let Some(advertised) = config.advertised().filter(|advertised| *advertised != own.address.to_string()) {
                let text = format!(
                    "`membership.initial_voters` has {} at {}, and others connect to {advertised}: both must be the same",
                    own.id, own.address
                );
                self.say("membership.initial_voters", text);
            }
        }
        if own.is_none() && membership.seeds.is_empty() {
            let text = format!(
                "`membership.seeds` is empty, and {} is not one of `membership.initial_voters`: the internal address \
                 of a voter is needed, or, in the first or only process of a cluster, the process itself as a voter",
                config.node.id
            );
            self.say("membership.seeds", text);
        }
    }

    /// The parts of the process's memory are no more than all of it.
    fn memory(&mut self, shares: &Shares) {
        let Shares { total, in_flight, entities, waiting, store_cache, .. } = shares;
        if shares.sum() <= *total {
            return;
        }
        let keys = ["shards.memory_bytes", "frontend.in_flight_bytes", "shards.waiting_bytes", "memory.total"];
        let path = keys.into_iter().find(|path| self.tree.find(path).is_some()).unwrap_or("memory.total");
        let text = format!(
            "`shards.memory_bytes`, `frontend.in_flight_bytes`, `shards.waiting_bytes` and the store's caches are \
             {entities}, {in_flight}, {waiting} and {store_cache}, which is {} together, at most `memory.total`, which \
             is {total}, is allowed",
            shares.sum()
        );
        self.say(path, text);
    }

    fn bounds(&mut self, config: &Config, shares: &Shares) {
        let Config { frontend, history, node, membership, remote, .. } = config;
        let mut at_most = |path: &str, value: String, other: &str, bound: String, holds: bool| {
            if !holds {
                self.say(path, format!("`{path}` is {value}, at most `{other}`, which is {bound}, is allowed"));
            }
        };
        macro_rules! at_most {
            ($section:ident.$key:ident <= $other_section:ident.$other:ident) => {
                at_most(
                    concat!(stringify!($section), ".", stringify!($key)),
                    $section.$key.to_string(),
                    concat!(stringify!($other_section), ".", stringify!($other)),
                    $other_section.$other.to_string(),
                    $section.$key <= $other_section.$other,
                )
            };
        }
        for (path, value, other, bound) in [
            ("shards.dirty_bytes", shares.dirty, "shards.memory_bytes", shares.entities),
            ("frontend.request_bytes", frontend.request_bytes, "frontend.in_flight_bytes", shares.in_flight),
        ] {
            at_most(path, value.to_string(), other, bound.to_string(), value <= bound);
        }
        at_most!(history.suggest_continue_bytes <= history.history_bytes);
        at_most!(history.suggest_continue_events <= history.history_events);
        at_most!(frontend.blob_bytes <= frontend.request_bytes);
        at_most!(frontend.memo_bytes <= frontend.request_bytes);
        at_most!(frontend.search_attribute_value_bytes <= frontend.search_attributes_total_bytes);
        at_most!(frontend.request_bytes <= remote.message_bytes);
        at_most!(frontend.request_bytes <= history.state_bytes);
        at_most!(frontend.namespace_rps <= frontend.instance_rps);
        at_most!(frontend.shortest_retention <= frontend.default_retention);
        // A new leader gives every node twice the lease to find it; those that still wait for the old one would be late.
        at_most!(membership.leader_silence <= membership.lease);
        // A change of the ring is answered once it is made.
        at_most!(membership.ring_interval <= membership.call_timeout);
        // A peer that takes longer to connect to would never be called.
        at_most!(remote.connect_timeout <= remote.call_timeout);
        if config.plays(Role::Frontend) {
            at_most!(frontend.shutdown_grace <= node.drain_within);
        }
        self.silences(config);
    }

    /// Heartbeats, and the timeouts that they must fit into.
    fn silences(&mut self, config: &Config) {
        let of = &config.membership;
        if of.election_timeout_min >= of.election_timeout_max {
            let (path, other) = ("membership.election_timeout_min", "membership.election_timeout_max");
            let (value, bound) = (of.election_timeout_min, of.election_timeout_max);
            self.say(path, format!("`{path}` is {value}, less than `{other}`, which is {bound}, is allowed"));
        }
        let (lease, silence) = (("lease", of.lease), ("leader_silence", of.leader_silence));
        let election = ("election_timeout_min", of.election_timeout_min);
        for (key, value, (other, bound), times, part) in [
            ("heartbeat", of.heartbeat, lease, 2, "half"),
            ("heartbeat", of.heartbeat, silence, 2, "half"),
            ("raft_heartbeat", of.raft_heartbeat, election, 2, "half"),
            // A leader is answered by a quorum once a beat, and one or two that get lost must not end its office.
            ("raft_heartbeat", of.raft_heartbeat, silence, 3, "a third"),
        ] {
            if value.duration() * times > bound.duration() {
                let path = format!("membership.{key}");
                let text = format!(
                    "`{path}` is {value}, at most {part} of `membership.{other}`, which is {bound}, is allowed"
                );
                self.say(&path, text);
            }
        }
    }

    fn cassandra(&mut self, cassandra: &mut Cassandra) {
        let at = |key: &str| format!("store.cassandra.{key}");
        if let Some(path) = &cassandra.password_file {
            if cassandra.password.is_some() {
                let text = "`store.cassandra.password_file` and `store.cassandra.password` are both set, one is enough";
                self.say(&at("password_file"), text.to_owned());
            } else {
                match read_password(path) {
                    Ok(password) => cassandra.password = Some(password),
                    Err(why) => {
                        let text =
                            format!("`store.cassandra.password_file` is {:?}, which cannot be read: {why}", path);
                        self.say(&at("password_file"), text);
                    }
                }
            }
        }
        let has_password = cassandra.password.is_some() || cassandra.password_file.is_some();
        if cassandra.username.is_some() != has_password {
            let (set, missing) = if has_password { ("password", "username") } else { ("username", "password") };
            let text =
                format!("`store.cassandra.{set}` is set and `store.cassandra.{missing}` is not: they go together");
            self.say(&at(set), text);
        }
        let replication = &cassandra.replication;
        if !replication.is_empty() && !replication.contains_key(&cassandra.local_datacenter) {
            let known: Vec<_> = replication.keys().map(String::as_str).collect();
            let text = format!(
                "`store.cassandra.replication` has {}, and not {}, the `store.cassandra.local_datacenter`",
                known.join(", "),
                cassandra.local_datacenter
            );
            self.say(&at("replication"), text);
        }
        if let Some(tls) = &cassandra.tls {
            if tls.certificate_file.is_some() != tls.key_file.is_some() {
                let text = "`store.cassandra.tls` has one of `certificate_file` and `key_file`: they go together";
                self.say(&at("tls"), text.to_owned());
            }
            if tls.server_name.is_some() && tls.any_server_name {
                let text = "`store.cassandra.tls` has both `server_name` and `any_server_name`: one is allowed";
                self.say(&at("tls"), text.to_owned());
            }
        }
    }
}

/// Whether two listeners cannot both be bound.
fn clash(one: ListenAddress, other: ListenAddress) -> bool {
    let (one, other) = (one.socket(), other.socket());
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && overlap
}

fn read_password(path: &Path) -> Result<Secret, String> {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if about.len() > LARGEST_PASSWORD {
        return Err(format!("it has {} bytes, at most {LARGEST_PASSWORD} are allowed", about.len()));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() { Err("it is empty".to_owned()) } else { Ok(Secret::new(password.to_owned())) }
}
