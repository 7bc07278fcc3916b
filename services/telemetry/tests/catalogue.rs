//! The list of metrics is what the code counts, what a Prometheus server takes well, and what the document says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use telemetry::{CATALOGUE, MetricKind, reference};

/// Stands before the table of docs/metrics.md.
const TABLE: &str = "<!-- the rest is made from the code: UPDATE=1 cargo test -p telemetry --test catalogue -->\n";

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// What the code below `folder` that is shipped counts: names with what they are counted by.
fn counted(folder: &Path, found: &mut BTreeMap<String, MetricKind>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && entry.file_name().is_none_or(|name| name != "tests") {
            counted(&entry, found);
        }
        if entry.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&entry).unwrap();
        let macros = [
            ("counter!(", MetricKind::Counter),
            ("gauge!(", MetricKind::Gauge),
            ("histogram!(", MetricKind::Histogram),
        ];
        for (call, kind) in macros {
            for after in text.split(call).skip(1) {
                let name = after.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                if let Some(name) = name
                    && let Some(other) = found.insert(name.to_owned(), kind)
                {
                    assert_eq!(other, kind, "{name} is two things");
                }
            }
        }
    }
}

#[test]
fn what_is_counted_is_listed_and_what_is_listed_is_counted() {
    let mut found = BTreeMap::new();
    counted(&repository("services"), &mut found);
    let listed: BTreeMap<_, _> = CATALOGUE.iter().map(|metric| (metric.name.to_owned(), metric.kind)).collect();
    assert_eq!(found, listed);
    assert!(CATALOGUE.is_sorted_by(|one, next| one.name < next.name), "by name, and no name twice");
}

/// What `promtool check metrics` asks for.
#[test]
fn names_and_texts_are_what_prometheus_expects() {
    for metric in CATALOGUE {
        let name = metric.name;
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
        let measured = name.strip_suffix("_total").unwrap_or(name);
        assert_eq!(measured.ends_with("_seconds"), metric.unit == metrics::Unit::Seconds, "{name}");
        assert_eq!(measured.ends_with("_bytes"), metric.unit == metrics::Unit::Bytes, "{name}");
        assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '|']), "{name}: {}", metric.help);
    }
}

#[test]
fn the_document_lists_what_the_code_lists() {
    let path = repository("docs/metrics.md");
    let document = fs::read_to_string(&path).unwrap();
    let (prose, _) = document.split_once(TABLE).unwrap();
    let expected = format!("{prose}{TABLE}{}", reference());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let document = fs::read_to_string(&path).unwrap();
    assert!(document == expected, "docs/metrics.md is stale: UPDATE=1 cargo test -p telemetry --test catalogue");
}
