//! A process that gets a signal before it has started ends well, and at once.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server that starts; killed when dropped.
struct Starting {
    child: Child,
    said: Box<dyn Iterator<Item = String>>,
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Starting {
    fn run(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outlast"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said: Box::new(lines.map_while(Result::ok)) }
    }

    fn reads(&mut self, beginning: &str) {
        assert!(self.said.any(|line| line.starts_with(beginning)), "{beginning}");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// A file of a process whose store is a database at `database`, and which finds others nowhere.
fn configured(directory: &Path, database: &str) -> PathBuf {
    let path = directory.join("outlast.yaml");
    let text = format!(
        "\
cluster: {{ name: test, history_shards: 2, matching_shards: 1 }}
node: {{ id: one, roles: [history] }}
internal: {{ listen: '127.0.0.1:0', advertise: '127.0.0.1:1' }}
http: {{ listen: '127.0.0.1:0' }}
membership: {{ seeds: ['127.0.0.1:1'] }}
store: {{ cassandra: {{ contact_points: ['{database}'], connect_timeout: 5m }} }}
log: {{ level: warn, format: text }}
"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_start_that_waits_for_the_database_ends_with_0() {
    let directory = tempfile::tempdir().unwrap();
    // It takes connections and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = configured(directory.path(), &silent.local_addr().unwrap().to_string());
    for (signal, name) in [("-TERM", "SIGTERM"), ("-INT", "SIGINT")] {
        let mut server = Starting::run(&["server", "start", "--config", path.to_str().unwrap()]);
        server.reads("store:");
        let (_connection, _) = silent.accept().unwrap();
        server.signal(signal);
        server.reads(&format!("{name} before the start was done: stopping"));
        server.reads("stopped");
        assert_eq!(server.code(), Some(0));
    }
}

/// Whatever the moment: the signal comes before the server serves, while it begins to, or after that.
#[test]
fn start_dev_ends_with_0_after_a_signal_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("outlast.db");
    let flags = ["server", "start-dev", "--port", "0", "--db-filename", file.to_str().unwrap()];
    let mut serving = Starting::run(&flags);
    serving.reads("store:");
    // The file is there now. The next start opens its shards, and gets the signal at some moment of that.
    serving.signal("-TERM");
    assert_eq!(serving.code(), Some(0));
    for millis in [40, 80, 160, 320] {
        let mut server = Starting::run(&flags);
        wait_until_caught(&server.child);
        #[expect(clippy::disallowed_methods, reason = "another process goes on meanwhile")]
        std::thread::sleep(std::time::Duration::from_millis(millis));
        server.signal("-TERM");
        assert_eq!(server.code(), Some(0), "after {millis} ms");
    }
}

/// Returns once a process catches SIGTERM; before that it ends by it, as any other.
fn wait_until_caught(child: &Child) {
    const SIGTERM: u64 = 1 << 14;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        if u64::from_str_radix(caught, 16).unwrap() & SIGTERM != 0 {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "another process goes on meanwhile")]
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
