//! Namespaces exist whole or not at all, under one name, whatever dies or races.

use std::sync::atomic::{AtomicU32, Ordering};

use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use async_trait::async_trait;
use bytes::Bytes;
use storage::memory::MemoryStore;
use storage::{CompareAndSet, StorageResult};
use tokio::sync::watch;

use super::*;

fn namespace(name: &str) -> Namespace {
    let info = NamespaceInfo { name: name.to_owned(), description: "new".to_owned(), ..NamespaceInfo::default() };
    Namespace { id: NamespaceId::new(""), name: name.to_owned(), info, config: NamespaceConfig::default() }
}

fn over(registry: Arc<dyn Registry>) -> Namespaces {
    Namespaces::new(registry, Runtime::system())
}

/// A registry that answers "it may have happened" to some writes: before or after they take effect.
struct Uncertain {
    registry: Arc<dyn Registry>,
    writes: AtomicU32,
    unknown: fn(u32) -> Option<bool>,
}

#[async_trait]
impl Registry for Uncertain {
    async fn get(&self, key: &str) -> StorageResult<Option<RegistryEntry>> {
        self.registry.get(key).await
    }
    async fn list(&self, prefix: &str) -> StorageResult<Vec<RegistryEntry>> {
        self.registry.list(prefix).await
    }
    async fn compare_and_set(&self, key: &str, expected: u64, value: Option<Bytes>) -> CompareAndSet {
        match (self.unknown)(self.writes.fetch_add(1, Ordering::Relaxed)) {
            None => self.registry.compare_and_set(key, expected, value).await,
            Some(takes_effect) => {
                if takes_effect {
                    self.registry.compare_and_set(key, expected, value).await;
                }
                CompareAndSet::Unknown
            }
        }
    }
    fn watch(&self) -> watch::Receiver<u64> {
        self.registry.watch()
    }
}

#[tokio::test]
async fn of_many_that_create_one_name_exactly_one_succeeds() {
    let registry = MemoryStore::new().store().registry;
    let creators: Vec<_> = (0..20).map(|_| over(Arc::clone(&registry))).collect();
    let created = futures::future::join_all(creators.iter().map(|each| each.create(namespace("orders")))).await;
    assert_eq!(created.iter().filter(|result| result.is_ok()).count(), 1);
    for result in created.iter().filter(|result| result.is_err()) {
        let taken = ServiceError::NamespaceAlreadyExists("namespace \"orders\" already exists".to_owned());
        assert_eq!(result, &Err(taken));
    }
    let reader = over(registry);
    reader.refresh().await.unwrap();
    assert_eq!(reader.page(None, 10).len(), 1);
}

#[tokio::test]
async fn a_creator_killed_between_the_two_rows_leaves_a_whole_namespace() {
    let registry = MemoryStore::new().store().registry;
    let mut half = namespace("orders");
    half.id = "some-id".into();
    half.info.id = "some-id".to_owned();
    let claim = Claim::of(&half).to_bytes();
    let outcome = registry.compare_and_set(&stored::name_row("orders"), 0, Some(claim)).await;
    assert_eq!(outcome, CompareAndSet::Applied);

    let survivor = over(Arc::clone(&registry));
    let again = survivor.create(namespace("orders")).await;
    assert!(matches!(again, Err(ServiceError::NamespaceAlreadyExists(_))));
    assert_eq!(survivor.by_name("orders").await.unwrap().id.as_str(), "some-id");
    assert_eq!(survivor.by_id("some-id").await.unwrap().name, "orders");
    assert!(registry.get(&stored::id_row("some-id")).await.unwrap().is_some(), "the row was written by a reader");
}

#[tokio::test]
async fn writes_that_may_have_happened_are_settled() {
    for unknown in [
        (|write| (write % 2 == 0).then_some(true)) as fn(u32) -> Option<bool>,
        |write| (write % 2 == 0).then_some(false),
        |write| (write % 3 != 2).then_some(write % 3 == 1),
    ] {
        let registry = MemoryStore::new().store().registry;
        let uncertain = Uncertain { registry: Arc::clone(&registry), writes: AtomicU32::new(0), unknown };
        let namespaces = over(Arc::new(uncertain));
        let created = namespaces.create(namespace("orders")).await.unwrap();
        let taken = namespaces.create(namespace("orders")).await;
        assert!(matches!(taken, Err(ServiceError::NamespaceAlreadyExists(_))), "{taken:?}");
        let updated = namespaces
            .update("orders", |namespace| {
                namespace.info.description.push_str(" and changed");
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(updated.id, created.id);
        assert_eq!(updated.info.description, "new and changed", "applied exactly once");
    }
}

#[tokio::test]
async fn concurrent_updates_are_all_kept() {
    let registry = MemoryStore::new().store().registry;
    over(Arc::clone(&registry)).create(namespace("orders")).await.unwrap();
    let updaters: Vec<_> = (0..8).map(|_| over(Arc::clone(&registry))).collect();
    let updates = updaters.iter().enumerate().map(|(number, namespaces)| {
        namespaces.update("orders", move |namespace| {
            namespace.info.data.insert(format!("key-{number}"), String::new());
            Ok(())
        })
    });
    for result in futures::future::join_all(updates).await {
        result.unwrap();
    }
    let reader = over(registry);
    assert_eq!(reader.by_name("orders").await.unwrap().info.data.len(), 8);
}

#[tokio::test]
async fn a_name_that_another_frontend_just_created_is_found_at_once() {
    let registry = MemoryStore::new().store().registry;
    let (ours, theirs) = (over(Arc::clone(&registry)), over(registry));
    let missing = ours.by_name("orders").await;
    assert_eq!(missing, Err(ServiceError::NamespaceNotFound("orders".to_owned())));
    let created = theirs.create(namespace("orders")).await.unwrap();
    assert_eq!(ours.by_name("orders").await.unwrap(), created);
    assert_eq!(ours.by_id(created.id.as_str()).await.unwrap(), created);
}

#[tokio::test]
async fn one_unreadable_row_does_not_take_the_others_away() {
    let registry = MemoryStore::new().store().registry;
    let namespaces = over(Arc::clone(&registry));
    namespaces.create(namespace("a")).await.unwrap();
    registry.compare_and_set(&stored::name_row("b"), 0, Some(Bytes::from_static(b"\xff\xff"))).await;
    namespaces.refresh().await.unwrap();
    assert_eq!(namespaces.page(None, 10).len(), 1);
}

#[tokio::test]
async fn pages_follow_each_other_in_the_order_of_names() {
    let namespaces = over(MemoryStore::new().store().registry);
    for name in ["b", "c", "a"] {
        namespaces.create(namespace(name)).await.unwrap();
    }
    let names = |page: Vec<Arc<Namespace>>| page.iter().map(|found| found.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(namespaces.page(None, 2)), ["a", "b"]);
    assert_eq!(names(namespaces.page(Some("b"), 2)), ["c"]);
}
