//! The commands for operators, as people run them: what they say, and how they end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

const INTERNAL: u16 = 7240;
const HTTP: u16 = 7250;

fn outlast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlast"));
    command.args(arguments);
    command
}

/// Exit code, standard output, standard error.
fn ran(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    ran(&outlast(arguments).output().unwrap())
}

/// A process that is a cluster by itself. Its frontend listens on any free port.
fn alone(directory: &std::path::Path, internal: SocketAddr, http: SocketAddr) -> PathBuf {
    let path = directory.join("outlast.yaml");
    let text = format!(
        "\
cluster: {{ name: test, history_shards: 2, matching_shards: 1 }}
node: {{ id: one, roles: [frontend, history, matching, membership] }}
internal: {{ listen: '{internal}' }}
http: {{ listen: '{http}' }}
frontend: {{ listen: '127.0.0.1:0' }}
membership: {{ data_dir: '{}', initial_voters: [{{ id: one, address: '{internal}' }}] }}
store: {{ memory: {{}} }}
log: {{ level: warn, format: text }}
",
        directory.join("voter").display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// A loopback address that nothing but one test uses, so that its ports are free, and stay so when they are given back.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let [.., third, fourth] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 244 + NEXT.fetch_add(1, Ordering::Relaxed) % 4, third, fourth).into()
}

/// The same process, before it listens.
fn fresh(directory: &std::path::Path) -> PathBuf {
    let ip = own_address();
    alone(directory, (ip, INTERNAL).into(), (ip, HTTP).into())
}

/// Asks again and again until there is an answer.
#[allow(clippy::disallowed_methods, reason = "it waits for another process, in real time and without tokio")]
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    const TIMEOUT: Duration = Duration::from_secs(60);
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < TIMEOUT, "not within {TIMEOUT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server that runs; killed when dropped.
struct Running {
    child: Child,
    /// What it has said about itself.
    said: Vec<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(config: &str) -> Self {
        let mut child = outlast(&["server", "start", "--config", config]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
            let serves = line.starts_with("server:");
            said.push(line);
            if serves {
                return Self { child, said };
            }
        }
        let _ = child.kill();
        panic!("it ended, {:?}, having said {said:?}", child.wait());
    }
}

/// Status and body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_checked_configuration_is_shown_as_it_is_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(directory.path());
    let path = path.to_str().unwrap();
    let (code, said, _) = run(&["config", "check", "--config", path]);
    assert_eq!(code, 0);
    assert!(said.starts_with("OK\ncluster:\n"), "{said}");
    assert!(said.contains("checkpoint_age: 10s"), "defaults are shown: {said}");
    let mut overridden = outlast(&["config", "check", "--config", path]);
    let (code, said, _) = ran(&overridden.env("OUTLAST__SHARDS__CHECKPOINT_AGE", "3s").output().unwrap());
    assert_eq!(code, 0);
    assert!(said.contains("checkpoint_age: 3s"), "{said}");
}

#[test]
fn everything_wrong_with_a_configuration_is_said_by_check_and_by_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(directory.path());
    let text = std::fs::read_to_string(&path).unwrap().replace("history_shards: 2", "history_shrads: 2");
    std::fs::write(&path, text.replace("level: warn", "level: wran")).unwrap();
    let path = path.to_str().unwrap();
    for command in [["config", "check"], ["server", "start"], ["schema", "apply"]] {
        let (code, said, error) = run(&[command[0], command[1], "--config", path]);
        assert_eq!((code, said.as_str()), (1, ""), "{command:?}");
        assert!(error.starts_with(&format!("outlast: {path} has 2 problems:\n")), "{error}");
        assert!(
            error.contains("line 1: unknown key `cluster.history_shrads`, did you mean `history_shards`?"),
            "{error}"
        );
        assert!(error.contains("`cluster.history_shards` is not set"), "{error}");
    }
    let (code, _, error) = run(&["server", "start", "--config", "/nowhere/x.yaml"]);
    assert_eq!(code, 1);
    assert!(error.contains("the file /nowhere/x.yaml cannot be read: No such file"), "{error}");
    let good = fresh(directory.path());
    let good = good.to_str().unwrap();
    let (code, _, error) = run(&["server", "start", "--config", good, "--role", "histroy"]);
    assert_eq!(code, 1);
    assert!(error.contains("--role: `node.roles[0]` is \"histroy\", did you mean `history`?"), "{error}");
    let mut overridden = outlast(&["config", "check", "--config", good]);
    let (code, _, error) = ran(&overridden.env("OUTLAST__LOG__LEVEL", "inof").output().unwrap());
    assert_eq!(code, 1);
    assert!(error.contains("log level is \"inof\""), "{error}");
    let mut overridden = outlast(&["server", "start", "--config", good]);
    let (code, _, error) = ran(&overridden.env("OUTLAST__LGO__LEVEL", "info").output().unwrap());
    assert_eq!(code, 1);
    assert!(error.contains("OUTLAST__LGO__LEVEL: sets no key, did you mean `OUTLAST__LOG__LEVEL`?"), "{error}");
}

#[test]
fn the_schema_command_prints_what_is_published() {
    let (code, said, _) = run(&["config", "schema"]);
    assert_eq!(code, 0);
    let published = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.schema.json");
    assert!(said == std::fs::read_to_string(published).unwrap());
}

#[test]
fn only_cassandra_has_a_schema_and_an_absent_one_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = fresh(directory.path());
    let (code, _, error) = run(&["schema", "apply", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert_eq!(error, "outlast: the store is memory, only store.cassandra has a schema to apply or check\n");
    let text = std::fs::read_to_string(&path).unwrap();
    let unreachable = "store: { cassandra: { contact_points: ['127.0.0.1:1'], connect_timeout: 1s } }";
    std::fs::write(&path, text.replace("store: { memory: {} }", unreachable)).unwrap();
    for command in ["apply", "check"] {
        let (code, said, error) = run(&["schema", command, "--config", path.to_str().unwrap()]);
        assert_eq!((code, said.as_str()), (1, ""), "{command}");
        assert!(error.lines().last().unwrap().starts_with("outlast: "), "{error}");
    }
}

#[test]
fn what_is_not_understood_ends_with_2() {
    for arguments in [
        &["admin", "shards", "--service", "frontend"][..],
        &["admin", "move-shard", "--service", "history", "--shard", "1"],
        &["admin", "move-shard", "--service", "history", "--shard", "1", "--to", "a", "--undo"],
        &["admin", "members", "--timeout", "10"],
        &["config", "check"],
        &["server", "start"],
        &["nonsense"],
    ] {
        let (code, said, error) = run(arguments);
        assert_eq!((code, said.as_str()), (2, ""), "{arguments:?}");
        assert!(error.contains("--help"), "{error}");
    }
    let (code, _, error) = run(&["admin", "members", "--address", "127.0.0.1:1"]);
    assert_eq!(code, 1);
    assert!(error.contains("cannot reach a node at 127.0.0.1:1: ") && error.contains("Connection refused"), "{error}");
}

#[test]
fn an_address_in_use_is_said_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let ip = own_address();
    let taken = TcpListener::bind((ip, 0)).unwrap();
    let used = taken.local_addr().unwrap();
    for (internal, http) in [(used, (ip, HTTP).into()), ((ip, INTERNAL).into(), used)] {
        let path = alone(directory.path(), internal, http);
        let (code, _, error) = run(&["server", "start", "--config", path.to_str().unwrap()]);
        assert_eq!(code, 1);
        let why = format!("outlast: cannot listen at {used}: Address already in use (os error 98)\n");
        assert_eq!(error, why);
    }
}

#[test]
fn a_cluster_of_one_starts_is_healthy_answers_admin_commands_and_ends_well() {
    let directory = tempfile::tempdir().unwrap();
    let ip = own_address();
    let (internal, http) = (SocketAddr::new(ip, INTERNAL), SocketAddr::new(ip, HTTP));
    let path = alone(directory.path(), internal, http);
    let mut server = Running::start(path.to_str().unwrap());
    assert!(server.said.contains(&format!("internal: {internal}")), "{:?}", server.said);
    for path in ["/health/live", "/health/startup"] {
        assert_eq!(get(http, path).0, 200, "{path}: {:?}", get(http, path));
    }
    // It is ready when it says that it has started. Where it stands still for longer than its lease, it loses its shards
    // for a moment, so what follows may not be so at once.
    until("ready", || (get(http, "/health/ready").0 == 200).then_some(()));
    let (status, metrics) = get(http, "/metrics");
    assert!(status == 200 && metrics.contains("# TYPE"), "{status} {metrics}");

    let address = internal.to_string();
    let admin = |arguments: &[&str]| run(&[&["admin", "--address", &address], arguments].concat());
    until("the node leads and is up", || {
        let (code, members, error) = admin(&["members"]);
        assert_eq!((code, error.as_str()), (0, ""));
        let is_up = members.contains("up     frontend,history,matching,membership");
        (is_up && members.contains("leads")).then_some(())
    });
    let serving = |shard: &serde_json::Value| shard["owner"] == "one" && shard["serving"]["node"] == "one";
    until("all shards are served", || {
        let (code, shards, _) = admin(&["shards", "--output", "json"]);
        assert_eq!(code, 0);
        let shards: serde_json::Value = serde_json::from_str(&shards).unwrap();
        let rows = shards["shards"].as_array().unwrap();
        (rows.len() == 3 && rows.iter().all(serving)).then_some(())
    });
    assert_eq!(admin(&["flush"]).1, "written to their tables: one\n");
    until("the node owns all shards of history", || {
        admin(&["ring"]).1.contains("history   one        2  0-1").then_some(())
    });
    let (code, _, error) = admin(&["drain", "two"]);
    assert_eq!((code, error.as_str()), (1, "outlast: no node is called \"two\", there are one\n"));
    let (code, _, error) = admin(&["workflow", "dump", "--namespace-id", "x", "--workflow-id", "y"]);
    assert_eq!(code, 1, "{error}");

    let killed = Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
