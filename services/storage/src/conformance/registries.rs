//! The rules of registries.

use std::time::Duration;

use runtime::Runtime;

use super::{Subject, text};
use crate::{CompareAndSet, Registry, RegistryEntry};

async fn keys(registry: &dyn Registry, prefix: &str) -> Vec<String> {
    registry.list(prefix).await.unwrap().into_iter().map(|entry| entry.key).collect()
}

async fn set(registry: &dyn Registry, key: &str, expected: u64, value: &str) -> CompareAndSet {
    registry.compare_and_set(key, expected, Some(text(value))).await
}

/// Only a call that names the present version changes the entry.
pub async fn a_value_is_set_on_its_version(subject: &mut dyn Subject) {
    let registry = subject.store().registry;
    assert_eq!(registry.get("k").await.unwrap(), None);
    assert_eq!(set(&*registry, "k", 1, "early").await, CompareAndSet::Conflict);
    assert_eq!(set(&*registry, "k", 0, "one").await, CompareAndSet::Applied);
    assert_eq!(set(&*registry, "k", 0, "again").await, CompareAndSet::Conflict);
    assert_eq!(set(&*registry, "k", 1, "two").await, CompareAndSet::Applied);
    assert_eq!(set(&*registry, "k", 1, "late").await, CompareAndSet::Conflict);
    let entry = RegistryEntry { key: "k".to_owned(), value: text("two"), version: 2 };
    assert_eq!(registry.get("k").await.unwrap(), Some(entry));
}

/// Removing needs the version too; afterwards the key starts again.
pub async fn an_entry_can_be_removed(subject: &mut dyn Subject) {
    let registry = subject.store().registry;
    assert_eq!(set(&*registry, "k", 0, "one").await, CompareAndSet::Applied);
    assert_eq!(registry.compare_and_set("k", 2, None).await, CompareAndSet::Conflict);
    assert_eq!(registry.compare_and_set("k", 1, None).await, CompareAndSet::Applied);
    assert_eq!(registry.get("k").await.unwrap(), None);
    assert_eq!(keys(&*registry, "").await, Vec::<String>::new());
    assert_eq!(set(&*registry, "k", 0, "anew").await, CompareAndSet::Applied);
    assert_eq!(registry.get("k").await.unwrap().map(|entry| entry.version), Some(1));
}

/// A prefix is plain text, not a pattern.
pub async fn a_list_goes_by_prefix_in_order(subject: &mut dyn Subject) {
    let registry = subject.store().registry;
    for key in ["b/2", "a", "b/10", "b", "b%", "c", "é/1", "b/"] {
        assert_eq!(set(&*registry, key, 0, key).await, CompareAndSet::Applied);
    }
    assert_eq!(keys(&*registry, "b/").await, ["b/", "b/10", "b/2"]);
    assert_eq!(keys(&*registry, "b%").await, ["b%"]);
    assert_eq!(keys(&*registry, "é").await, ["é/1"]);
    assert_eq!(keys(&*registry, "x").await, Vec::<String>::new());
    assert_eq!(keys(&*registry, "").await, ["a", "b", "b%", "b/", "b/10", "b/2", "c", "é/1"]);
    assert!(registry.list("").await.unwrap().iter().all(|entry| entry.value == text(&entry.key)));
}

/// A watcher's counter changes within two seconds of a change, and what it then reads is new.
pub async fn a_watcher_hears_of_changes(subject: &mut dyn Subject) {
    let registry = subject.store().registry;
    let mut watcher = registry.watch();
    for (expected, value) in [(0, Some("one")), (1, Some("two")), (2, None)] {
        watcher.mark_unchanged();
        assert_eq!(registry.compare_and_set("k", expected, value.map(text)).await, CompareAndSet::Applied);
        let heard = Runtime::system().timeout(Duration::from_secs(2), watcher.changed()).await;
        heard.expect("noticed within two seconds").expect("the registry is still there");
        assert_eq!(registry.get("k").await.unwrap().map(|entry| entry.value), value.map(text));
    }
}

/// Of many callers that name the same version, one is applied.
pub async fn one_of_many_wins(subject: &mut dyn Subject) {
    let registry = subject.store().registry;
    for version in 0..5 {
        let callers = (0..8).map(|caller| {
            let registry = &registry;
            async move { set(&**registry, "k", version, &caller.to_string()).await }
        });
        let outcomes = futures::future::join_all(callers).await;
        let applied = outcomes.iter().filter(|outcome| **outcome == CompareAndSet::Applied).count();
        assert_eq!(applied, 1, "{outcomes:?}");
    }
}

/// Entries and their versions outlive the process.
pub async fn entries_survive_a_restart(subject: &mut dyn Subject) {
    let registry = subject.store().registry;
    assert_eq!(set(&*registry, "k", 0, "one").await, CompareAndSet::Applied);
    assert_eq!(set(&*registry, "k", 1, "two").await, CompareAndSet::Applied);
    drop(registry);
    subject.restart().await;
    let registry = subject.store().registry;
    assert_eq!(set(&*registry, "k", 1, "late").await, CompareAndSet::Conflict);
    let entry = RegistryEntry { key: "k".to_owned(), value: text("two"), version: 2 };
    assert_eq!(registry.get("k").await.unwrap(), Some(entry));
}
