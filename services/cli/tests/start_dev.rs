//! The binary as people start it: what it says when it cannot, and how it ends.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A server that runs; killed when dropped.
struct Running {
    child: Child,
    address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn outlast(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlast"));
    command.args(["server", "start-dev"]).args(flags);
    command
}

/// Starts a server and reads its output until it serves, and no further.
fn run(flags: &[&str]) -> Running {
    let mut child = outlast(flags).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.find_map(|line| line.strip_prefix("server:  ").map(str::to_owned)).unwrap();
    assert!(lines.any(|line| line.starts_with("store:")));
    Running { child, address }
}

/// What a server that does not start says.
fn refusal(flags: &[&str]) -> String {
    let output = outlast(flags).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{flags:?}");
    assert!(output.stdout.is_empty(), "{flags:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn fresh_file(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    directory.join("outlast.db")
}

#[test]
fn a_port_in_use_is_said_in_one_line_and_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let why = "Address already in use (os error 98)";
    assert_eq!(refusal(&["--port", &port]), format!("outlast: cannot listen at 127.0.0.1:{port}: {why}\n"));
    let metrics = refusal(&["--port", "0", "--metrics-port", &port]);
    assert_eq!(metrics.matches(why).count(), 1, "{metrics}");
    assert_eq!(metrics.lines().count(), 1, "{metrics}");
}

#[test]
fn a_file_is_of_one_process_and_keeps_its_number_of_shards() {
    let path = fresh_file("one-process");
    let path = path.to_str().unwrap();
    let first = run(&["--port", "0", "--db-filename", path]);
    let second = refusal(&["--port", "0", "--db-filename", path]);
    assert_eq!(second, format!("outlast: cannot open the store: {path} is in use by another process\n"));
    drop(first);
    let other = refusal(&["--port", "0", "--db-filename", path, "--history-shards", "5"]);
    assert_eq!(other, "outlast: this store has 4 history shards, 5 were asked for: the number cannot be changed\n");
}

#[test]
fn what_cannot_be_is_refused_in_one_line_and_once() {
    for (flags, expected) in [
        (["--history-shards", "4294967295"], "the number of history shards is 4294967295, at most 4096 is allowed"),
        (["--matching-shards", "0"], "the number of matching shards is 0, at least 1 is needed"),
        (["--namespace", ""], "cannot create namespace \"\": namespace is not set"),
        (
            ["--namespace", "temporal-system"],
            "cannot create namespace \"temporal-system\": namespace is \"temporal-system\", which is reserved for \
             the server",
        ),
        (
            ["--log-level", "inof"],
            "log level is \"inof\", such as debug, info, warn, error or never is allowed, or a filter as in \
             history=debug",
        ),
        (
            ["--db-filename", "/proc/nowhere/x.db"],
            "cannot open the store: cannot create the directory /proc/nowhere: No such file or directory (os \
             error 2)",
        ),
    ] {
        assert_eq!(refusal(&["--port", "0", flags[0], flags[1]]), format!("outlast: {expected}\n"));
    }
    let not_a_file = refusal(&["--port", "0", "--db-filename", "/"]);
    assert_eq!(not_a_file.matches("cannot open ").count(), 2, "the store and its file: {not_a_file}");
    assert_eq!(not_a_file.lines().count(), 1, "{not_a_file}");
}

#[test]
fn sigterm_ends_it_well_even_when_its_output_is_not_read() {
    let path = fresh_file("sigterm");
    let mut server = run(&["--port", "0", "--db-filename", path.to_str().unwrap()]);
    assert!(server.address.starts_with("127.0.0.1:"));
    let killed = Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
