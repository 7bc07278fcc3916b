//! `outlast admin verify` and `outlast admin backup`, as people run them: beside a server, and without one.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server that runs; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn outlast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlast"));
    command.args(arguments);
    command
}

/// Starts a server on a file, with a namespace that it creates.
fn serve(path: &Path, namespace: &str) -> Running {
    let file = path.to_str().unwrap();
    let mut server = outlast(&["server", "start-dev", "--port", "0", "--db-filename", file, "--namespace", namespace]);
    let mut child = server.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("store:")));
    Running(child)
}

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = outlast(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn fresh() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outlast.db");
    (directory, path)
}

fn entries(json: &str) -> u64 {
    let shown: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(shown["problems"], serde_json::json!([]));
    shown["registry_entries"].as_u64().unwrap()
}

#[test]
fn a_file_is_verified_and_copied_while_a_server_uses_it_and_a_server_starts_on_the_copy() {
    let (directory, path) = fresh();
    let copy = directory.path().join("copy.db");
    let (file, to) = (path.to_str().unwrap(), copy.to_str().unwrap());
    let server = serve(&path, "before");
    let (code, said, _) = run(&["admin", "verify", "--db-filename", file]);
    assert!(code == 0 && said.ends_with("everything matches its checksums\n"), "{said}");
    let (code, said, error) = run(&["admin", "backup", "--db-filename", file, "--to", to, "--output", "json"]);
    assert_eq!(code, 0, "{error}");
    let copied = entries(&said);
    // The server goes on, is killed, and more is in its file than in the copy.
    drop(server);
    drop(serve(&path, "after"));
    let found = |file: &str| entries(&run(&["admin", "verify", "-f", file, "--output", "json"]).1);
    assert!(found(file) > copied);
    assert_eq!(found(to), copied);
    drop(serve(&copy, "before"));

    let (code, _, error) = run(&["admin", "backup", "--db-filename", file, "--to", to]);
    assert_eq!((code, error), (1, format!("outlast: {to} is there already; a backup goes into a new file\n")));
}

#[test]
fn damage_is_said_and_no_server_starts_on_a_damaged_log() {
    let (_directory, path) = fresh();
    let file = path.to_str().unwrap();
    // Killed, so that what it wrote is in the write-ahead log.
    drop(serve(&path, "first"));
    let log = PathBuf::from(format!("{file}-wal"));
    let whole = std::fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    damaged[32 + 24 + 4096 + 100] ^= 4;
    std::fs::write(&log, damaged).unwrap();
    let (code, said, error) = run(&["admin", "verify", "--db-filename", file]);
    assert!(code == 1 && said.contains("frame 2 of its write-ahead log is damaged"), "{said}");
    assert_eq!(error, format!("outlast: {file} is damaged: 1 problems\n"));
    let (code, said, error) = run(&["server", "start-dev", "--port", "0", "--db-filename", file]);
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(error.contains(&format!("{file} is damaged: frame 2 of its write-ahead log")), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    // Neither has touched it: undamaged again, it is whole.
    std::fs::write(&log, whole).unwrap();
    assert_eq!(run(&["admin", "verify", "--db-filename", file]).0, 0);
}

/// A process with all roles, on a store that `start-dev` might have made; its internal address.
fn cluster(directory: &Path, file: &str) -> (Running, String) {
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (internal, public, http) = (port(), port(), port());
    let text = format!(
        "\
cluster: {{ name: test, history_shards: 4, matching_shards: 1 }}
node: {{ id: one, roles: [frontend, history, matching, membership] }}
internal: {{ listen: '{internal}', advertise: '{internal}' }}
frontend: {{ listen: '{public}', namespaces: [default] }}
http: {{ listen: '{http}' }}
membership: {{ data_dir: '{}', initial_voters: [{{ id: one, address: '{internal}' }}] }}
store: {{ sqlite: {{ path: '{file}' }} }}
log: {{ level: warn, format: text }}
",
        directory.join("membership").display()
    );
    let config = directory.join("outlast.yaml");
    std::fs::write(&config, text).unwrap();
    let mut server = outlast(&["server", "start", "--config", config.to_str().unwrap()]);
    let child = server.stdout(Stdio::null()).spawn().unwrap();
    (Running(child), internal.to_string())
}

#[test]
fn a_running_process_is_asked_to_go_through_its_store() {
    let (directory, path) = fresh();
    let (_server, address) = cluster(directory.path(), path.to_str().unwrap());
    let verify = ["admin", "verify", "--address", &address];
    let (code, said, error) = loop {
        let (code, said, error) = run(&verify);
        // It is starting.
        if code == 0 || !(error.contains("nothing answers") || error.contains("cannot reach")) {
            break (code, said, error);
        }
    };
    assert!(
        code == 0 && said.ends_with("everything matches its checksums and reads as what it should be\n"),
        "{error}"
    );
    let (_, said, _) = run(&[&verify[..], &["--output", "json"]].concat());
    let shown: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(shown["partitions"].as_u64() >= Some(1) && shown["registry_entries"].as_u64() >= Some(1), "{said}");
    assert_eq!(shown["problems"], serde_json::json!([]));
}
