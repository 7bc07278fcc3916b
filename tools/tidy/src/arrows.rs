//! Dependencies point one way: ids ← pure crates ← ports ← adapters. Services meet only in `server`.
//!
//! A new crate gets its line in [`LAYERS`]; what its layer may use is said once, in [`may_use`]. A new arrow between layers
//! wants a decision note.

use std::path::Path;

use anyhow::Result;

use crate::graph::{Crate, Graph};
use crate::names::is_vague;
use crate::{Finding, Rule};

/// What kind of room a crate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The API's messages.
    Messages,
    /// The API's clients and server traits.
    Transport,
    /// Identities.
    Ids,
    /// Decisions without clock, randomness, threads or I/O.
    Pure,
    /// Clock, randomness, spawning.
    Runtime,
    /// Typed configuration.
    Settings,
    /// Reads settings from files and environment.
    Configuration,
    /// Logs, metrics and health.
    Telemetry,
    /// Interfaces to the outside, and between services.
    Port,
    /// The host of entities.
    Host,
    /// An implementation of a port.
    Adapter,
    /// A service.
    Shell,
    /// Puts everything together.
    Server,
    /// The binary.
    Binary,
    /// Drives the API from outside.
    Outside,
    /// What only tests use.
    Tests,
    /// This crate.
    Tidy,
}

/// The layer of every crate.
pub const LAYERS: &[(&str, Layer)] = &[
    ("admin", Layer::Adapter),
    ("allocated", Layer::Tests),
    ("api", Layer::Messages),
    ("calls", Layer::Port),
    ("cli", Layer::Binary),
    ("cluster", Layer::Port),
    ("config", Layer::Configuration),
    ("cql-proxy", Layer::Outside),
    ("entities", Layer::Host),
    ("execution", Layer::Pure),
    ("frontend", Layer::Shell),
    ("grpc", Layer::Transport),
    ("history", Layer::Shell),
    ("ids", Layer::Ids),
    ("internal-api", Layer::Transport),
    ("loadtest", Layer::Outside),
    ("matching", Layer::Shell),
    ("membership", Layer::Adapter),
    ("remote", Layer::Adapter),
    ("runtime", Layer::Runtime),
    ("server", Layer::Server),
    ("settings", Layer::Settings),
    ("storage", Layer::Port),
    ("storage-cql", Layer::Adapter),
    ("storage-sqlite", Layer::Adapter),
    ("taskqueue", Layer::Pure),
    ("telemetry", Layer::Telemetry),
    ("tidy", Layer::Tidy),
];

/// What must not be linked into a pure crate, however far away.
const IMPURE: &[&str] = &[
    "async-std",
    "crossbeam-channel",
    "fastrand",
    "futures",
    "getrandom",
    "grpc",
    "hyper",
    "log",
    "metrics",
    "mio",
    "rand",
    "rayon",
    "rusqlite",
    "runtime",
    "smol",
    "socket2",
    "storage",
    "tokio",
    "tonic",
    "tower",
    "tracing",
    "uuid",
];

/// The layers that a layer's shipped code may use.
fn may_use(layer: Layer) -> &'static [Layer] {
    use Layer::{Adapter, Host, Ids, Messages, Port, Pure, Runtime, Server, Settings, Shell, Telemetry, Transport};
    match layer {
        Messages | Ids | Layer::Tests | Layer::Tidy => &[],
        Transport => &[Messages],
        Pure => &[Messages, Ids],
        Settings | Runtime => &[Ids],
        Telemetry => &[Ids, Runtime],
        Port => &[Messages, Transport, Ids, Runtime, Port],
        Host => &[Ids, Runtime, Settings, Port],
        Layer::Configuration => &[Ids, Settings, Host],
        Adapter => &[Messages, Transport, Ids, Runtime, Settings, Port],
        Shell => &[Messages, Transport, Ids, Pure, Runtime, Settings, Telemetry, Port, Host],
        Server => &[
            Messages,
            Transport,
            Ids,
            Pure,
            Runtime,
            Settings,
            Layer::Configuration,
            Telemetry,
            Port,
            Host,
            Adapter,
            Shell,
        ],
        Layer::Binary => &[Server, Settings, Layer::Configuration, Telemetry, Runtime, Transport, Adapter],
        Layer::Outside => &[Messages, Transport],
    }
}

/// Every arrow that points the wrong way, every crate without a layer or with a name that says nothing.
///
/// # Errors
/// When cargo fails.
pub fn findings(root: &Path) -> Result<Vec<Finding>> {
    let mut graph = Graph::read(root)?;
    for of in graph.crates.iter_mut().filter(|of| layer(&of.name) == Some(Layer::Pure)) {
        of.find_links(root)?;
    }
    Ok(graph.crates.iter().flat_map(check_crate).collect())
}

fn check_crate(of: &Crate) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |what: String| found.push(Finding { rule: Rule::Arrow, path: of.folder.clone(), line: 0, what });
    if is_vague(&of.name) {
        say(format!("no crate is called {:?}: name it for what it does", of.name));
    }
    let Some(layer) = layer(&of.name) else {
        say(format!("crate {:?} has no layer: give it one in tools/tidy/src/arrows.rs", of.name));
        return found;
    };
    for used in &of.uses {
        if self::layer(used).is_none_or(|used| !may_use(layer).contains(&used)) {
            say(format!("{} ({layer:?}) must not depend on {used}: it may use {:?}", of.name, may_use(layer)));
        }
    }
    for used in &of.tests_use {
        if !tests_may_use(layer, self::layer(used)) {
            say(format!(
                "the tests of {} ({layer:?}) must not depend on {used}: test them together in `server`",
                of.name
            ));
        }
    }
    if layer == Layer::Pure {
        for linked in of.links.iter().filter(|linked| is_impure(linked)) {
            say(format!(
                "{} is pure and must not link {linked}: `cargo tree -p {} -e normal -i {linked}`",
                of.name, of.name
            ));
        }
    }
    found
}

fn layer(name: &str) -> Option<Layer> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

/// Tests may use everything below, and the adapters; services are tested together only where they meet.
fn tests_may_use(layer: Layer, used: Option<Layer>) -> bool {
    match (layer, used) {
        (_, None | Some(Layer::Server | Layer::Binary)) => matches!(layer, Layer::Outside),
        (_, Some(Layer::Shell)) => matches!(layer, Layer::Server),
        _ => true,
    }
}

fn is_impure(package: &str) -> bool {
    IMPURE
        .iter()
        .any(|name| package == *name || package.strip_prefix(name).is_some_and(|rest| rest.starts_with(['-', '_'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, uses: &[&str], links: &[&str]) -> usize {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let of = Crate { name: name.into(), uses: set(uses), links: set(links), ..Crate::default() };
        check_crate(&of).len()
    }

    #[test]
    fn arrows_against_the_layers_are_found() {
        assert_eq!(found("history", &["execution", "storage", "entities"], &[]), 0);
        assert_eq!(found("history", &["matching"], &[]), 1);
        assert_eq!(found("history", &["storage-sqlite"], &[]), 1);
        assert_eq!(found("server", &["storage-sqlite", "history"], &[]), 0);
        assert_eq!(found("loadtest", &["ids"], &[]), 1);
        assert_eq!(found("execution", &["runtime"], &[]), 1);
    }

    #[test]
    fn pure_crates_link_nothing_impure() {
        assert_eq!(found("execution", &[], &["prost", "jiff"]), 0);
        assert_eq!(found("execution", &[], &["tokio", "rand_core", "futures-util"]), 3);
        assert_eq!(found("history", &[], &["tokio"]), 0);
    }

    #[test]
    fn a_crate_without_a_layer_or_with_a_vague_name_is_found() {
        assert_eq!(found("payments", &[], &[]), 1);
        assert_eq!(found("task-types", &[], &[]), 2);
    }
}
