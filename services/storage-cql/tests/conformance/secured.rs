//! A node that asks for a password and for certificates: a client whose login succeeds can do everything, any other gets the reason.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use runtime::Runtime;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use storage::{Append, CompareAndSet, Epoch, GroupId, LogId, OwnerNonce, PartitionWrite, Seq, Store};
use storage_cql::schema::{self, SchemaError, SchemaState};
use storage_cql::{ConnectError, CqlSettings, CqlStore, Credentials, Password, ServerName, TlsSettings};
use tokio::sync::{OnceCell, RwLock};

use crate::clusters::is_wanted;
use crate::database::{self, Database, Start};

/// Of `outlast`, a role that is no superuser.
const PASSWORD: &str = "swordfish-at-noon";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

fn tls() -> TlsSettings {
    TlsSettings { certificate_file: Some(file("client.pem")), key_file: Some(file("client.key")), ..tls_alone() }
}

fn tls_alone() -> TlsSettings {
    TlsSettings {
        ca_file: file("authority.pem"),
        certificate_file: None,
        key_file: None,
        server_name: ServerName::Address,
    }
}

fn login(username: &str, password: &str) -> Option<Credentials> {
    Some(Credentials { username: username.to_owned(), password: Password(password.to_owned()) })
}

/// The node of these tests. Who restarts it takes it for himself.
async fn node() -> &'static RwLock<Database> {
    static NODE: OnceCell<RwLock<Database>> = OnceCell::const_new();
    NODE.get_or_init(async || {
        let database = start("secured", "mutual");
        make_roles(&database).await;
        let settings = settings(&database);
        schema::apply(&settings, &Runtime::system()).await.expect("the schema can be applied");
        RwLock::new(database)
    })
    .await
}

/// At the address that is in the node's certificate, and hence at a port that is free.
fn start(name: &'static str, tls: &str) -> Database {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let any = u16::try_from(std::process::id() % 5000).expect("less than 5000");
    let port = (0..5000).map(|turn| 20_000 + (any + turn) % 5000 * 2).find(|&port| is_free(port) && is_free(port + 1));
    let port = port.expect("a free port");
    let folder = file("");
    let certificates = folder.to_str().expect("a path of text");
    let more = ["--addresses", "127.0.0.1", "--password", "--tls", tls, "--certificates", certificates];
    let ports = [format!("--port={port}"), format!("--storage-port={}", port + 1)];
    Database::start(Start { name, more: more.map(str::to_owned).into_iter().chain(ports).collect(), ..Start::ONE })
}

/// Makes `outlast`, who may create keyspaces, and do in them what he likes; and roles that may nothing of the kind.
async fn make_roles(database: &Database) {
    let session = superuser(database).await;
    for role in ["outlast", "tenant", "server"] {
        let create = format!("CREATE ROLE {role} WITH LOGIN = true AND PASSWORD = '{PASSWORD}'");
        session.query_unpaged(create, ()).await.unwrap();
    }
    session.query_unpaged("GRANT CREATE ON ALL KEYSPACES TO outlast", ()).await.unwrap();
}

/// A session of the role that Cassandra begins with.
async fn superuser(database: &Database) -> Session {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("authority.pem")).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(file("client.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("client.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
    SessionBuilder::new()
        .known_nodes(&database.contact_points)
        .user("cassandra", "cassandra")
        .tls_context(Some(Arc::new(tls)))
        .build()
        .await
        .unwrap()
}

/// Those with which a login succeeds. Long timeouts: errors come without waiting for them.
fn settings(database: &Database) -> CqlSettings {
    let mut settings = CqlSettings {
        credentials: login("outlast", PASSWORD),
        tls: Some(tls()),
        keyspace: "secured".to_owned(),
        ..database.settings()
    };
    settings.timeouts.connect = Duration::from_secs(60);
    settings
}

/// Once through all ports: what was written is read again.
async fn use_store(store: &Store, log: &LogId) {
    let epoch = store.log.open(log, OwnerNonce(1)).await.unwrap().head.epoch;
    append(store, log, epoch, 1).await;
    let key = Bytes::from_static(b"key");
    let puts = vec![(key.clone(), content(1))];
    let row = PartitionWrite { partition: log.0.clone().into(), version: 1, puts, deletes: vec![] };
    store.table.write(vec![row]).await.unwrap();
    let row = store.table.get(&log.0.clone().into(), &key).await.unwrap();
    assert_eq!(row.map(|row| row.value), Some(content(1)));
    let changed = store.registry.compare_and_set(&log.0, 0, Some(content(1))).await;
    assert_eq!(changed, CompareAndSet::Applied);
    assert_eq!(store.registry.get(&log.0).await.unwrap().map(|entry| entry.value), Some(content(1)));
}

async fn append(store: &Store, log: &LogId, epoch: Epoch, seq: u64) {
    let outcome = store.log.append(log, epoch, Seq(seq), GroupId(seq.into()), content(seq)).await;
    assert_eq!(outcome, Append::Appended);
}

fn content(seq: u64) -> Bytes {
    Bytes::from(format!("group {seq}"))
}

#[tokio::test]
async fn a_role_of_its_own_does_everything_over_tls() {
    let node = node().await.read().await;
    let all = settings(&node);
    let runtime = Runtime::system();
    let fresh = CqlSettings { keyspace: "secured_fresh".to_owned(), ..all.clone() };
    assert!(matches!(schema::check(&fresh, &runtime).await.unwrap(), SchemaState::Missing { .. }));
    schema::apply(&fresh, &runtime).await.unwrap();
    assert_eq!(schema::check(&fresh, &runtime).await.unwrap(), SchemaState::Current);
    for server_name in [ServerName::Address, ServerName::Fixed("node.test".to_owned()), ServerName::Any] {
        let log = LogId(format!("{server_name:?}"));
        let tls = Some(TlsSettings { server_name, ..tls() });
        let store = CqlStore::connect(CqlSettings { tls, ..all.clone() }, runtime.clone()).await.unwrap();
        use_store(&store.store(), &log).await;
        store.close().await;
    }
}

/// As docs/configuration.md says: an administrator creates the keyspace, and the servers' role cannot change tables.
#[tokio::test]
async fn a_role_may_be_given_a_keyspace_and_no_more() {
    let node = node().await.read().await;
    let as_role =
        |role| CqlSettings { keyspace: "given".to_owned(), credentials: login(role, PASSWORD), ..settings(&node) };
    let (tenant, server, runtime) = (as_role("tenant"), as_role("server"), Runtime::system());
    let refused = schema::apply(&tenant, &runtime).await.unwrap_err().to_string();
    assert!(refused.contains("tenant has no CREATE permission"), "{refused}");
    let session = superuser(&node).await;
    let create = "CREATE KEYSPACE given WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}";
    session.query_unpaged(create, ()).await.unwrap();
    for right in ["CREATE", "ALTER", "SELECT", "MODIFY"] {
        session.query_unpaged(format!("GRANT {right} ON KEYSPACE given TO tenant"), ()).await.unwrap();
    }
    // A node remembers for two seconds what a role may not.
    while let Err(error) = schema::apply(&tenant, &runtime).await {
        assert!(matches!(error, SchemaError::Denied { .. }), "{error}");
        runtime.sleep(Duration::from_millis(200)).await;
    }
    for right in ["SELECT", "MODIFY"] {
        // What it may is remembered too, so its rights come one after another.
        loop {
            let refused = CqlStore::connect(server.clone(), runtime.clone()).await.err().expect("not allowed to");
            assert!(matches!(refused, ConnectError::Failed(_)), "{refused:?}");
            if refused.to_string().contains(&format!("server has no {right} permission")) {
                break;
            }
            runtime.sleep(Duration::from_millis(200)).await;
        }
        session.query_unpaged(format!("GRANT {right} ON KEYSPACE given TO server"), ()).await.unwrap();
    }
    let store = loop {
        match CqlStore::connect(server.clone(), runtime.clone()).await {
            Ok(store) => break store,
            Err(ConnectError::Failed(_)) => runtime.sleep(Duration::from_millis(200)).await,
            Err(error) => panic!("{error}"),
        }
    };
    use_store(&store.store(), &LogId("given".into())).await;
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Whether a text has a password in it, as text or as a list of bytes.
fn contains_password(text: &str, password: &str) -> bool {
    let bytes = format!("{:?}", password.as_bytes());
    text.contains(password) || text.contains(bytes.trim_matches(['[', ']']))
}

/// Connecting fails before any timeout, and so does looking at the schema. What it says; nothing contains the password.
async fn refusal(settings: &CqlSettings) -> ConnectError {
    let runtime = Runtime::system();
    let began = runtime.now();
    let refused = CqlStore::connect(settings.clone(), runtime.clone()).await.err().expect("refused");
    let checked = schema::check(settings, &runtime).await.unwrap_err().to_string();
    assert!(runtime.now().since(began) < settings.timeouts.connect / 2, "reported late: {refused}");
    assert_eq!(checked, refused.to_string());
    if let Some(Credentials { password, .. }) = &settings.credentials {
        assert!(!contains_password(&format!("{refused} {refused:?}"), &password.0), "{refused:?}");
    }
    refused
}

#[tokio::test]
async fn a_refused_login_has_its_reason() {
    // Its first session makes roles, and the driver logs statements. This one has a password in it.
    let node = node().await.read().await;
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    // Where there is one subscriber, `tracing` asks that of the thread that comes first whether a line is wanted at all.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    // All of a test's tasks are on its own thread.
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let good = settings(&node);
    let with = |tls: TlsSettings| CqlSettings { tls: Some(tls), ..good.clone() };
    let as_role = |credentials| CqlSettings { credentials, ..good.clone() };
    let other_name = TlsSettings { server_name: ServerName::Fixed("other.test".to_owned()), ..tls() };
    let outsider = TlsSettings {
        certificate_file: Some(file("outsider.pem")),
        key_file: Some(file("outsider.key")),
        ..tls_alone()
    };
    let cases: [(CqlSettings, &[&str]); 7] = [
        (
            as_role(login("outlast", "marlin-at-dawn")),
            &["does not log \"outlast\" in", "incorrect", "username and password"],
        ),
        (as_role(login("stranger", PASSWORD)), &["does not log \"stranger\" in", "username and password"]),
        (as_role(None), &["requires a user and a password", "username and password"]),
        (with(TlsSettings { ca_file: file("stranger.pem"), ..tls() }), &["look at tls.ca_file"]),
        (with(other_name), &["\"other.test\"", "node.test", "look at tls.server_name"]),
        (with(tls_alone()), &["requires a certificate of us", "look at tls.certificate_file and tls.key_file"]),
        (with(outsider), &["perhaps not our certificate", "look at tls.certificate_file and tls.key_file"]),
    ];
    for (settings, expected) in cases {
        let refused = refusal(&settings).await;
        assert!(matches!(refused, ConnectError::Refused { .. }), "{refused:?}");
        let text = refused.to_string();
        for piece in [&settings.contact_points[0].as_str()].into_iter().chain(expected) {
            assert!(text.contains(piece), "{piece} is not in: {text}");
        }
    }
    // That it wants encryption is a guess: a node that ends hangs up too.
    let refused = refusal(&CqlSettings { tls: None, ..good.clone() }).await;
    assert!(matches!(refused, ConnectError::Unreachable { .. }), "{refused:?}");
    assert!(refused.to_string().ends_with("wants encryption: look at tls"), "{refused}");

    CqlStore::connect(good, Runtime::system()).await.unwrap().close().await;
    let log = logged.text();
    assert!(log.contains("scylla") && log.contains("TRACE"), "the driver's log was seen");
    assert!(log.contains("GRANT SELECT ON system_views.settings"), "what cannot be checked is said");
    assert!(
        !contains_password(&log, PASSWORD) && !contains_password(&log, "marlin-at-dawn"),
        "a password is in the log"
    );
}

#[tokio::test]
async fn a_node_without_tls_and_an_unreachable_one_are_different_errors() {
    let settings = CqlSettings { tls: Some(tls_alone()), ..database::settings().await };
    let refused = refusal(&settings).await;
    assert!(matches!(refused, ConnectError::Refused { .. }), "{refused:?}");
    assert!(refused.to_string().contains("does not answer with TLS"), "{refused}");
}

/// A restart of the node breaks all connections; the store makes new ones, encrypted and logged in, by itself.
#[tokio::test]
async fn a_store_comes_back_after_the_node_did() {
    let node = node().await.write().await;
    let store = CqlStore::connect(settings(&node), Runtime::system()).await.unwrap();
    let (ports, log) = (store.store(), LogId("restarted".into()));
    let epoch = ports.log.open(&log, OwnerNonce(1)).await.unwrap().head.epoch;
    append(&ports, &log, epoch, 1).await;
    node.node("restart", 1);
    let opened = loop {
        match ports.log.open(&log, OwnerNonce(2)).await {
            Ok(opened) => break opened,
            Err(error) => {
                println!("not yet: {error}");
                Runtime::system().sleep(Duration::from_millis(100)).await;
            }
        }
    };
    assert_eq!(opened.tail.iter().map(|group| group.bytes.clone()).collect::<Vec<_>>(), [content(1)]);
    append(&ports, &log, opened.head.epoch, 2).await;
}

/// The node accepts every client with the password, with TLS or without, and asks for no certificate.
#[tokio::test]
async fn tls_may_be_optional() {
    if !is_wanted("a node where TLS is optional") {
        return;
    }
    let database = start("optional", "optional");
    make_roles(&database).await;
    let encrypted = CqlSettings { tls: Some(tls_alone()), ..settings(&database) };
    schema::apply(&encrypted, &Runtime::system()).await.unwrap();
    for (name, settings) in [("encrypted", encrypted.clone()), ("plain", CqlSettings { tls: None, ..encrypted })] {
        let store = CqlStore::connect(settings, Runtime::system()).await.unwrap();
        use_store(&store.store(), &LogId(name.to_owned())).await;
    }
    database.stop();
}
