//! Applying, checking and refusing schemas, and other reasons not to start.

use std::time::Duration;

use runtime::Runtime;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use storage_cql::schema::{self, Applied, SchemaError, SchemaState};
use storage_cql::{ConnectError, CqlSettings, CqlStore};

use crate::database;

/// Settings for a keyspace that has never been used.
async fn in_new_keyspace(name: &str) -> CqlSettings {
    let settings = database::settings().await;
    let unique: String = settings.within.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    CqlSettings { keyspace: format!("schema_{name}_{unique}"), ..settings }
}

async fn session(settings: &CqlSettings) -> Session {
    SessionBuilder::new().known_nodes(&settings.contact_points).build().await.unwrap()
}

async fn refusal(settings: &CqlSettings) -> String {
    match CqlStore::connect(settings.clone(), Runtime::system()).await {
        Ok(_) => panic!("connected, in spite of everything"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn ten_processes_may_apply_at_once() {
    let settings = in_new_keyspace("ten").await;
    assert!(matches!(schema::check(&settings, &Runtime::system()).await.unwrap(), SchemaState::Missing { .. }));
    let missing = refusal(&settings).await;
    assert!(missing.contains("outlast schema apply"), "{missing}");
    let appliers = (0..10).map(|_| {
        let settings = settings.clone();
        Runtime::system().spawn(async move { schema::apply(&settings, &Runtime::system()).await })
    });
    let mut upgraded = 0;
    for applied in futures::future::join_all(appliers).await {
        match applied.unwrap().unwrap() {
            Applied::Upgraded { from: 0, to: schema::VERSION } => upgraded += 1,
            Applied::AlreadyCurrent => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(upgraded, 1, "one of them made the tables");
    assert_eq!(schema::check(&settings, &Runtime::system()).await.unwrap(), SchemaState::Current);
    assert_eq!(schema::apply(&settings, &Runtime::system()).await.unwrap(), Applied::AlreadyCurrent);
    let store = CqlStore::connect(settings.clone(), Runtime::system()).await.unwrap();
    store.store().registry.list("").await.unwrap();

    // The same keyspace, with a version that is not ours.
    let session = session(&settings).await;
    for (version, applies, hint) in
        [(Some(schema::VERSION + 2), false, "schema version 3 of keyspace"), (None, true, "outlast schema apply")]
    {
        let set = format!("UPDATE {}.outlast_schema SET version = ? WHERE id = 'tables' IF EXISTS", settings.keyspace);
        session.query_unpaged(set, (version,)).await.unwrap();
        let refused = refusal(&settings).await;
        assert!(refused.contains(hint), "{refused}");
        match schema::apply(&settings, &Runtime::system()).await {
            Ok(_) => assert!(applies, "version {version:?} was changed"),
            Err(SchemaError::Newer(state)) => {
                assert!(!applies);
                assert!(state.to_string().contains("is newer than this release's 1"), "{state}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_keyspace_that_could_lose_writes_is_refused() {
    let settings = in_new_keyspace("unsafe").await;
    schema::apply(&settings, &Runtime::system()).await.unwrap();
    let session = session(&settings).await;
    let alter = format!("ALTER TABLE {}.log_groups WITH gc_grace_seconds = 60", settings.keyspace);
    session.query_unpaged(alter, ()).await.unwrap();
    let alter = format!("ALTER TABLE {}.table_rows WITH read_repair = 'NONE'", settings.keyspace);
    session.query_unpaged(alter, ()).await.unwrap();
    let other = CqlSettings { replication: [(settings.local_datacenter.clone(), 5)].into(), ..settings.clone() };
    let refused = refusal(&other).await;
    for finding in ["gc_grace_seconds of log_groups is 60", "read_repair of table_rows is NONE", "the settings say"] {
        assert!(refused.contains(finding), "{refused}");
    }
    let drop = format!("DROP TABLE {}.log_chunks", settings.keyspace);
    session.query_unpaged(drop, ()).await.unwrap();
    let refused = refusal(&settings).await;
    assert!(refused.contains("table log_chunks is missing"), "{refused}");
}

#[tokio::test]
async fn a_datacenter_that_is_not_there_is_refused() {
    let settings = database::settings().await;
    let there = settings.local_datacenter.clone();
    let refused = refusal(&CqlSettings { local_datacenter: "nowhere".into(), ..settings }).await;
    assert!(refused.contains("\"nowhere\"") && refused.contains(&there), "{refused}");
}

/// Nothing listens, something listens and says nothing, or a name does not resolve: each is reported within the time to connect.
#[tokio::test]
async fn an_unreachable_database_is_reported_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for node in [silent.local_addr().unwrap().to_string(), closed.to_string(), "unknown.invalid:9042".to_owned()] {
        let mut settings = CqlSettings { contact_points: vec![node.clone()], ..CqlSettings::default() };
        settings.timeouts.connect = Duration::from_secs(2);
        let runtime = Runtime::system();
        let began = runtime.now();
        let refused = CqlStore::connect(settings.clone(), runtime.clone()).await.err().expect("no node is there");
        assert!(matches!(refused, ConnectError::Unreachable { .. }), "{refused}");
        assert!(refused.to_string().contains(&node), "{refused}");
        assert!(runtime.now().since(began) < Duration::from_secs(4), "{node}: reported late");
        let refused = schema::apply(&settings, &runtime).await.unwrap_err();
        assert!(refused.to_string().contains(&node), "{refused}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_right_are_refused() {
    let cases = [
        (CqlSettings { keyspace: "Bad-Name".into(), ..CqlSettings::default() }, "keyspace"),
        (CqlSettings { keyspace: "x".repeat(49), ..CqlSettings::default() }, "keyspace"),
        (CqlSettings { contact_points: vec![], ..CqlSettings::default() }, "contact_points"),
        (CqlSettings { within: "a/b".into(), ..CqlSettings::default() }, "within"),
        (CqlSettings { connections: 0, ..CqlSettings::default() }, "connections"),
    ];
    for (settings, field) in cases {
        let refused = refusal(&settings).await;
        assert!(refused.starts_with(field), "{refused}");
    }
}
