//! Namespaces exist whole or not at all, under one name, whatever dies or races.

use std::time::Duration;

use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use bytes::Bytes;
use storage::CompareAndSet;
use storage::fault::{FaultPlan, Faults, FaultyStore, Method};
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
        let taken = ServiceError::NamespaceAlreadyExists("Namespace \"orders\" already exists".to_owned());
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

/// Every listing takes a while, nothing else does.
fn slow_listings() -> FaultyStore {
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(30), ..Faults::default() };
    FaultyStore::wrap(MemoryStore::new().store(), FaultPlan::new(1).on(Method::RegistryList, slow))
}

#[tokio::test(start_paused = true)]
async fn registering_side_by_side_lists_nothing_and_all_are_known_at_once() {
    let faulty = slow_listings();
    let namespaces = over(faulty.store().registry);
    let names: Vec<_> = (0..200).map(|number| format!("n-{number:03}")).collect();
    let created = futures::future::join_all(names.iter().map(|name| namespaces.create(namespace(name)))).await;
    assert!(created.iter().all(Result::is_ok));
    assert_eq!(namespaces.page(None, 300).iter().map(|found| &found.name).collect::<Vec<_>>(), Vec::from_iter(&names));
    assert_eq!(faulty.control().calls(Method::RegistryList), 0);
    assert_eq!(faulty.control().calls(Method::CompareAndSet), 400, "two rows each");

    let other = over(faulty.store().registry);
    other.by_name("n-007").await.unwrap();
    assert_eq!(
        faulty.control().calls(Method::RegistryList),
        0,
        "what another frontend registered is one claim and one row"
    );
}

#[tokio::test(start_paused = true)]
async fn one_listing_serves_all_who_ask_before_it_begins() {
    let faulty = slow_listings();
    let namespaces = over(faulty.store().registry);
    let outcomes = futures::future::join_all((0..100).map(|_| namespaces.refresh())).await;
    assert!(outcomes.iter().all(Result::is_ok));
    // The first caller's listing had begun when the others asked; each reads claims and rows.
    assert_eq!(faulty.control().calls(Method::RegistryList), 2 * 2);
    namespaces.refresh().await.unwrap();
    assert_eq!(faulty.control().calls(Method::RegistryList), 3 * 2, "one that has ended serves no one later");
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_fails_for_all_who_wait_for_it() {
    let faults = Faults { fail: 1.0, stall: 1.0, stall_for: Duration::from_millis(30), ..Faults::default() };
    let failing = FaultPlan::new(1).on(Method::RegistryList, faults);
    let faulty = FaultyStore::wrap(MemoryStore::new().store(), failing);
    let namespaces = over(faulty.store().registry);
    let outcomes = futures::future::join_all((0..50).map(|_| namespaces.refresh())).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(ServiceError::Unavailable(_)))));
    assert!(faulty.control().calls(Method::RegistryList) <= 2, "{}", faulty.control().calls(Method::RegistryList));
}

/// A claim without its second row.
async fn half(registry: &dyn Registry, name: &str) {
    let mut half = namespace(name);
    half.id = format!("id-of-{name}").as_str().into();
    half.info.id = half.id.as_str().to_owned();
    let claim = Claim::of(&half).to_bytes();
    let outcome = registry.compare_and_set(&stored::name_row(name), 0, Some(claim)).await;
    assert_eq!(outcome, CompareAndSet::Applied);
}

#[tokio::test(start_paused = true)]
async fn a_slow_listing_does_not_undo_what_came_after_its_reads() {
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(30), ..Faults::default() };
    let store = MemoryStore::new().store();
    let faulty = FaultyStore::wrap(store.clone(), FaultPlan::new(1).on(Method::CompareAndSet, slow));
    let ours = over(faulty.store().registry);
    ours.create(namespace("orders")).await.unwrap();
    for name in ["half-1", "half-2", "half-3"] {
        half(store.registry.as_ref(), name).await;
    }
    let describe = |namespace: &mut Namespace| {
        namespace.info.description = "changed".to_owned();
        Ok(())
    };
    // The listing reads at once and then writes three rows, 90 ms; the update takes 30 and the creation 60 of them.
    let outcomes = tokio::join!(ours.refresh(), ours.update("orders", describe), ours.create(namespace("bills")));
    assert!(outcomes.0.is_ok() && outcomes.1.is_ok() && outcomes.2.is_ok());
    assert_eq!(ours.by_name("orders").await.unwrap().info.description, "changed");
    assert_eq!(ours.page(None, 10).len(), 5, "what was created meanwhile is not in the listing, and stays");
}

#[tokio::test(start_paused = true)]
async fn no_snapshot_goes_back_while_two_frontends_change_and_list() {
    let stall = Faults { stall: 0.5, stall_for: Duration::from_millis(7), ..Faults::default() };
    for seed in 0..20 {
        let faulty = FaultyStore::wrap(MemoryStore::new().store(), FaultPlan::new(seed).everywhere(stall));
        let frontends = [over(faulty.store().registry), over(faulty.store().registry)];
        frontends[0].create(namespace("orders")).await.unwrap();
        let changing = frontends.iter().enumerate().map(|(number, frontend)| async move {
            for change in 0..10 {
                let mark = |namespace: &mut Namespace| {
                    namespace.info.data.insert(format!("{number}-{change}"), String::new());
                    Ok(())
                };
                frontend.update("orders", mark).await.unwrap();
            }
        });
        let listing = frontends.iter().map(|frontend| async move {
            let mut known = 0;
            for _ in 0..40 {
                frontend.refresh().await.unwrap();
                let now = frontend.by_name("orders").await.unwrap().info.data.len();
                assert!(now >= known, "seed {seed}: {known} changes were known, then {now}");
                known = now;
            }
            assert_eq!(known, 20, "seed {seed}");
        });
        futures::join!(futures::future::join_all(changing), futures::future::join_all(listing));
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_namespaces_than_allowed() {
    // So slow that all are asked for before any is there.
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(30), ..Faults::default() };
    let faulty = FaultyStore::wrap(MemoryStore::new().store(), FaultPlan::new(1).on(Method::CompareAndSet, slow));
    let namespaces = over(faulty.store().registry);
    let names: Vec<_> = (0..20).map(|number| format!("n-{number}")).collect();
    let create = |name| namespaces.create_below(5, namespace(name));
    let created = futures::future::join_all(names.iter().map(|name| create(name))).await;
    assert_eq!(created.iter().filter(|created| created.is_ok()).count(), 5);
    let refused = create("one-more").await.unwrap_err();
    let text = "the cluster has 5 namespaces, at most 5 are allowed".to_owned();
    assert_eq!(refused, ServiceError::FailedPrecondition(text));
    let exists = created.iter().flatten().next().unwrap();
    assert!(matches!(create(&exists.name).await, Err(ServiceError::NamespaceAlreadyExists(_))));
}
