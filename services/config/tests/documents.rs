//! What is published about the configuration is what the code does.

use std::path::PathBuf;

use config::{Config, Overrides, StoreChoice, published_schema, reference};

/// Stands before the tables of docs/configuration.md.
const TABLES: &str = "<!-- the rest is made from the schema: UPDATE=1 cargo test -p config --test documents -->\n";

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares a published file with what it should be, or writes it when `UPDATE` is set.
fn published(path: &str, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(repository(path), expected).unwrap();
    }
    assert!(read(path) == expected, "{path} is stale: UPDATE=1 cargo test -p config --test documents");
}

#[test]
fn the_published_schema_is_that_of_the_code() {
    published("docs/config.schema.json", &published_schema());
}

#[test]
fn the_tables_of_the_document_are_those_of_the_code() {
    let document = read("docs/configuration.md");
    let (prose, _) = document.split_once(TABLES).unwrap();
    published("docs/configuration.md", &format!("{prose}{TABLES}{}", reference()));
}

#[test]
fn the_sample_is_a_configuration() {
    let config = Config::read(&repository("deploy/outlast.example.yaml"), &Overrides::none()).unwrap();
    assert_eq!(config.node.id, "history-0");
    assert_eq!(config.advertised().as_deref(), Some("history-0.outlast.internal:7240"));
    assert_eq!(config.shards.settings().memory_bytes, 128 << 20);
    let StoreChoice::Cassandra(cassandra) = config.store.choice() else { panic!("{:?}", config.store) };
    assert_eq!(cassandra.replication["datacenter1"], 3);
}

#[test]
fn the_effective_configuration_is_a_configuration_and_shows_no_secret() {
    let sample = read("deploy/outlast.example.yaml");
    let config = Config::parse(&sample, &Overrides::none()).unwrap();
    let effective = config.effective();
    assert!(!effective.contains("change-me") && !format!("{config:?}").contains("change-me"), "{effective}");
    let again = Config::parse(&effective, &Overrides::none()).unwrap_or_else(|error| panic!("{error:?}\n{effective}"));
    assert_eq!(again.effective(), effective);
    assert!(effective.contains("checkpoint_age: 10s"), "{effective}");
}

#[test]
fn defaults_are_those_of_the_services() {
    let config = Config::parse(&read("deploy/outlast.example.yaml"), &Overrides::none()).unwrap();
    assert_eq!(config.history.settings(), settings::HistorySettings::default());
    assert_eq!(config.matching.settings(), settings::MatchingSettings::default());
    assert_eq!(config.membership.settings(), settings::MembershipSettings::default());
    assert_eq!(config.remote.settings(), settings::RemoteSettings::default());
    let mut frontend = config.frontend.clone();
    frontend.namespace_rps = 20_000.0;
    // Its part of the memory of the machine.
    assert!(frontend.in_flight_bytes.take().is_some());
    assert_eq!(frontend.settings(), settings::FrontendSettings::default());
}
