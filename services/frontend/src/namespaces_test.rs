//! Namespaces exist whole or not at all, under one name, whatever dies or races.

use std::time::Duration;

use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use bytes::Bytes;
use storage::CompareAndSet;
use storage::fault::{FaultPlan, Faults, FaultyStore};
use storage::memory::MemoryStore;

use super::*;

fn namespace(name: &str) -> Namespace {
    let info = NamespaceInfo { name: name.to_owned(), description: "new".to_owned(), ..NamespaceInfo::default() };
    Namespace { id: NamespaceId::new(""), name: name.to_owned(), info, config: NamespaceConfig::default() }
}

fn over(registry: Arc<dyn Registry>) -> Namespaces {
    Namespaces::new(registry, Runtime::system())
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

/// Calls until the registry lets it; what it says then. A write may have happened at an earlier call.
async fn insist<T, F: Future<Output = ServiceResult<T>>>(mut call: impl FnMut() -> F) -> ServiceResult<T> {
    loop {
        match call().await {
            Err(ServiceError::Unavailable(_)) => {}
            result => return result,
        }
    }
}

/// One of several processes that create the same namespaces and leave their mark on each.
async fn mark_all(registry: Arc<dyn Registry>, process: usize) {
    let namespaces = over(registry);
    for name in ["orders", "bills"] {
        match insist(|| namespaces.create(namespace(name))).await {
            Ok(_) | Err(ServiceError::NamespaceAlreadyExists(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
        let mark = |namespace: &mut Namespace| {
            namespace.info.data.insert(format!("process-{process}"), String::new());
            Ok(())
        };
        let marked = insist(|| namespaces.update(name, mark)).await.unwrap();
        assert!(marked.info.data.contains_key(&format!("process-{process}")));
    }
}

#[tokio::test(start_paused = true)]
async fn under_faults_namespaces_stay_whole_and_keep_every_acknowledged_change() {
    for seed in 0..100 {
        let store = MemoryStore::new().store();
        let faults = Faults { fail: 0.15, fail_after_effect: 0.15, stall: 0.1, stall_for: Duration::from_millis(30) };
        let faulty = FaultyStore::wrap(store.clone(), FaultPlan::new(seed).everywhere(faults));
        let registry = faulty.store().registry;
        futures::future::join_all((0..3).map(|process| mark_all(Arc::clone(&registry), process))).await;

        let reader = over(Arc::clone(&store.registry));
        reader.refresh().await.unwrap();
        let listed = reader.page(None, 10);
        assert_eq!(
            listed.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(),
            ["bills", "orders"],
            "seed {seed}"
        );
        for found in listed {
            assert_eq!(found.info.data.len(), 3, "seed {seed}: {:?}", found.info.data);
            assert_eq!(reader.by_id(found.id.as_str()).await.unwrap(), found, "seed {seed}");
        }
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
