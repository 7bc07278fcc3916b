//! Servers that start, join and stop, with real voters, on stores in memory that they share.

use ids::{TaskKey, TaskRef};
use std::path::Path;

use calls::{CallContext, OfferOutcome, OfferedTask, QueueName, TaskQueueKind};
use cluster::Sharded;
use membership::{ClusterSettings as Founding, InitialVoter, MemberSettings, VoterSettings};
use settings::{MembershipSettings, RemoteSettings};
use storage::fault::{FaultPlan, Faults, FaultyStore, Method};
use storage::memory::MemoryStore;

use super::*;
use crate::ClusterSettings;

/// Longer than anything here takes on the slowest machine, and shorter than what would go on for ever.
const TIMEOUT: Duration = Duration::from_secs(120);
/// What no call to the store is waited for.
const FOR_EVER: Duration = Duration::from_secs(3600);

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// A process of the cluster `test` at `internal` that finds the others at `seed`; with a folder it is the only voter.
fn process(node: &str, internal: SocketAddr, seed: SocketAddr, votes_in: Option<&Path>) -> ServerSettings {
    let founding = Founding { name: "test".to_owned(), history_shards: 4, matching_shards: 1 };
    let timings = MembershipSettings::default();
    let mut roles = std::collections::BTreeSet::from([Role::History, Role::Matching]);
    let voter = votes_in.map(|data_dir| {
        roles.insert(Role::Membership);
        VoterSettings {
            cluster: founding.clone(),
            node: NodeId::new(node),
            address: internal.to_string(),
            data_dir: data_dir.to_owned(),
            initial_voters: vec![InitialVoter { id: NodeId::new(node), address: internal.to_string() }],
            timings: timings.clone(),
        }
    });
    let member = MemberSettings {
        cluster: founding,
        node: NodeId::new(node),
        roles: roles.clone(),
        address: internal.to_string(),
        zone: String::new(),
        weight: 100,
        seeds: vec![seed.to_string()],
        timings,
    };
    let cluster = ClusterSettings {
        internal,
        http: None,
        member,
        voter,
        remote: RemoteSettings::default(),
        drain_within: Duration::from_secs(10),
        takes_over: None,
    };
    ServerSettings { roles, cluster: Some(cluster), ..ServerSettings::default() }
}

/// The first process of a cluster.
fn first(node: &str, folder: &Path) -> ServerSettings {
    let internal = free_address();
    process(node, internal, internal, Some(folder))
}

/// One more process of the cluster of another.
fn joining(node: &str, other: &Server) -> ServerSettings {
    process(node, free_address(), other.internal_address().expect("it has joined"), None)
}

async fn start(store: OpenStore, settings: ServerSettings) -> Result<Server, StartError> {
    start_unless(store, settings, std::future::pending()).await
}

async fn start_unless(
    store: OpenStore,
    settings: ServerSettings,
    stop: impl Future<Output = ()>,
) -> Result<Server, StartError> {
    let runtime = Runtime::system();
    let starting = Box::pin(Server::start_on(Some(store), settings, runtime.clone(), stop));
    let started = runtime.timeout(TIMEOUT, starting).await;
    started.expect("it starts or does not")
}

/// Why a server does not start.
async fn refusal(store: &MemoryStore, settings: ServerSettings) -> StartError {
    match start(OpenStore::Memory(store.clone()), settings).await {
        Ok(_) => panic!("it has started"),
        Err(error) => error,
    }
}

fn rings(server: &Server) -> tokio::sync::watch::Receiver<Arc<Ring>> {
    server.joined.as_ref().expect("it is of a cluster").member.ring()
}

async fn until(server: &Server, what: &str, is_so: impl FnMut(&Arc<Ring>) -> bool) {
    let mut rings = rings(server);
    let seen = matches!(Runtime::system().timeout(TIMEOUT, rings.wait_for(is_so)).await, Some(Ok(_)));
    assert!(seen, "{what}: {:?}", rings.borrow());
}

async fn cluster_id(store: &MemoryStore) -> String {
    let entry = store.store().registry.get("cluster/id").await.expect("the registry answers").expect("it is there");
    String::from_utf8(entry.value.to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_store_is_of_one_cluster_and_one_cluster_has_one_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, other_store) = (MemoryStore::new(), MemoryStore::new());
    let memory = |store: &MemoryStore| OpenStore::Memory(store.clone());
    let a = start(memory(&store), first("a", &folder.path().join("a"))).await.expect("it starts");
    let id = rings(&a).borrow().cluster_id.clone();
    assert!(!id.is_empty());
    assert_eq!(cluster_id(&store).await, id, "frontends return this id");

    // One cluster on two stores.
    let refused = refusal(&other_store, joining("b", &a)).await;
    assert!(matches!(refused, StartError::StoreOwner(StoreOwnerError::NotTheirs { .. })), "{refused}");
    assert!(other_store.store().registry.get("cluster/id").await.expect("an answer").is_none());
    until(&a, "it has left", |ring| ring.nodes.len() == 1).await;
    assert_eq!(rings(&a).borrow().owned(Sharded::History, &NodeId::new("a")).len(), 4, "b was given nothing");
    let b = start(memory(&store), joining("b", &a)).await.expect("with the right store it starts");
    b.stop().await;

    // Two clusters on one store.
    let refused = refusal(&store, first("x", &folder.path().join("x"))).await;
    let StartError::StoreOwner(StoreOwnerError::Another { stored, joined }) = &refused else { panic!("{refused}") };
    assert!(*stored == id && *joined != id, "{refused}");
    assert_eq!(cluster_id(&store).await, id);
    a.stop().await;

    // The first cluster is gone for good.
    let mut heir = first("y", &folder.path().join("y"));
    if let Some(cluster) = &mut heir.cluster {
        cluster.takes_over = Some(id.clone());
    }
    let y = start(memory(&store), heir).await.expect("it takes over");
    assert_eq!(cluster_id(&store).await, rings(&y).borrow().cluster_id);
    y.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_ends_in_order_while_no_cluster_can_be_joined() {
    let dead = free_address();
    let settings = process("a", free_address(), dead, None);
    let runtime = Runtime::system();
    let (began, stop) = (runtime.now(), runtime.sleep(Duration::from_millis(300)));
    let ended = start_unless(OpenStore::Memory(MemoryStore::new()), settings, stop).await;
    assert!(matches!(ended, Err(StartError::Stopped)));
    let took = runtime.now().since(began);
    assert!(took < Duration::from_secs(30), "not after the minute for joining: {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_was_given_shards_gives_them_back_when_it_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = MemoryStore::new();
    let a = start(OpenStore::Memory(store.clone()), first("a", folder.path())).await.expect("it starts");
    // Its database never answers, so that its start is never done.
    let stalling = Faults { stall: 1.0, stall_for: FOR_EVER, ..Faults::default() };
    let plan = FaultPlan::new(1).on(Method::Open, stalling).on(Method::Reopen, stalling);
    let faulty = OpenStore::Faulty(FaultyStore::wrap(store.store(), plan));
    let given = until(&a, "b is given shards", |ring| !ring.owned(Sharded::History, &NodeId::new("b")).is_empty());
    let ended = start_unless(faulty, joining("b", &a), given).await;
    assert!(matches!(ended, Err(StartError::Stopped)));
    until(&a, "b has left", |ring| ring.nodes.len() == 1).await;
    let settled = Runtime::system().timeout(TIMEOUT, a.services.settle()).await;
    assert!(matches!(settled, Some(Ok(()))), "a serves all of them");
    a.stop().await;
}

fn ctx() -> CallContext {
    CallContext::internal(&"n".into())
}

fn task(number: i64) -> OfferedTask {
    OfferedTask {
        queue: QueueName { namespace: "n".into(), name: "q".to_owned(), kind: TaskQueueKind::Activity },
        key: TaskKey {
            workflow_id: format!("w-{number}").into(),
            run_id: "r".into(),
            task: TaskRef { scheduled_event_id: number, attempt: 1, stamp: 1 },
        },
        normal_name: String::new(),
        priority: None,
        scheduled_at: Runtime::system().now(),
        expires_at: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_no_longer_than_it_may_while_the_database_is_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FaultyStore::wrap(MemoryStore::new().store(), FaultPlan::new(1));
    let control = store.control();
    let mut settings = first("a", folder.path());
    let within = Duration::from_secs(4);
    if let Some(cluster) = &mut settings.cluster {
        cluster.drain_within = within;
    }
    let server = start(OpenStore::Faulty(store), settings).await.expect("it starts");
    let matching = server.services.matching.clone().expect("it has the role");
    assert_eq!(calls::Matching::offer(&*matching, &ctx(), task(1)).await, Ok(OfferOutcome::Persisted));
    assert!(server.services.stats(Sharded::Matching).iter().any(|(_, stats)| stats.dirty_entities > 0));
    control.follow(FaultPlan::new(1).everywhere(Faults { stall: 1.0, stall_for: FOR_EVER, ..Faults::default() }));
    let runtime = Runtime::system();
    let began = runtime.now();
    server.stop().await;
    let took = runtime.now().since(began);
    // A shard that closes tries for 20 s, each service, and there were 25 s for handing over before that.
    assert!(took < within + Duration::from_secs(8), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn shards_of_task_queues_obey_the_settings_of_shards() {
    let runtime = Runtime::virtual_from(ids::Timestamp::from_millis(1_700_000_000_000));
    for (inbox_calls, sheds) in [(5, true), (10_000, false)] {
        let mut settings = ServerSettings::default();
        settings.shards.inbox_calls = inbox_calls;
        let (node, membership) = alone(&settings);
        let services = Services::new(&settings, &node, &membership, &MemoryStore::new().store(), &runtime);
        services.serve();
        services.settle().await.expect("a sound store");
        let matching = services.matching.clone().expect("it has the role");
        // There is no poller, so all of them are persisted in the same moment.
        let offers: Vec<_> = (0..100)
            .map(|number| {
                let matching = Arc::clone(&matching);
                runtime.spawn(async move { calls::Matching::offer(&*matching, &ctx(), task(number)).await })
            })
            .collect();
        let mut refused = 0;
        for offer in offers {
            match offer.await.expect("no panic") {
                Ok(outcome) => assert_eq!(outcome, OfferOutcome::Persisted),
                Err(_) => refused += 1,
            }
        }
        assert!((refused > 0) == sheds && refused < 100, "{refused} of 100 with {inbox_calls}");
        services.close().await;
    }
}
