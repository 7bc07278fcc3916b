//! The file of a server: whose it is, what happens to it, and a disk that takes nothing.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server that serves; killed when dropped.
struct Serving {
    child: Child,
    address: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    /// Starts one and reads what it says until it serves.
    fn on(file: &Path) -> Self {
        let mut command = start_dev(file);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut address = None;
        for line in lines {
            if let Some(found) = line.strip_prefix("server:  ") {
                address = Some(found.to_owned());
            }
            if line.starts_with("store:") {
                break;
            }
        }
        Self { child, address: address.expect("it serves") }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Its exit code, and what it said on standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

fn start_dev(file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlast"));
    command.args(["server", "start-dev", "--port", "0", "--db-filename"]).arg(file).stdin(Stdio::null());
    command
}

/// The exit code of a server that does not get to serve, and the one line that it says.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{:?}: {said}", output.status);
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn names_in(directory: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[test]
fn a_file_of_something_else_is_refused_and_nothing_is_left_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("passwd");
    std::fs::write(&file, "root:x:0:0:root:/root:/bin/bash\n").unwrap();
    let said = refused(&mut start_dev(&file));
    assert_eq!(said, format!("outlast: cannot open the store: {} is not an outlast store\n", file.display()));
    assert_eq!(names_in(directory.path()), [file]);
}

#[test]
fn a_second_process_is_refused_under_any_name() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("outlast.db"), directory.path().join("link.db"));
    let mut first = Serving::on(&file);
    assert!(names_in(directory.path()).iter().all(|name| !name.to_string_lossy().ends_with("-lock")));
    let in_use =
        |name: &Path| format!("outlast: cannot open the store: {} is in use by another process\n", name.display());
    assert_eq!(refused(&mut start_dev(&file)), in_use(&file));
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_eq!(refused(&mut start_dev(&link)), in_use(&link));
    first.signal("-TERM");
    assert_eq!(first.end(), (Some(0), String::new()));
}

#[test]
fn a_server_whose_file_is_deleted_or_linked_ends_and_says_so() {
    type Mishap = fn(&Path);
    const MISHAPS: [(Mishap, &str); 2] = [
        (|file| std::fs::remove_file(file).unwrap(), "was deleted or moved away"),
        (
            |file| std::fs::hard_link(file, file.with_extension("link")).unwrap(),
            "was given another name (2 hard links)",
        ),
    ];
    for (mishap, expected) in MISHAPS {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("outlast.db");
        let mut server = Serving::on(&file);
        mishap(&file);
        let (code, said) = server.end();
        let what_happened = format!("outlast: {} {expected} while it was open; ", file.display());
        assert!(said.starts_with(&what_happened), "{said}");
        assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    }
}

/// A limit on the size of files stands for a full disk: it needs no rights, and SQLite meets it in the same places.
fn on_a_full_disk(file: &Path, blocks: u32) -> Command {
    let mut command = Command::new("sh");
    let script =
        format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" server start-dev --port 0 --db-filename \"$1\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_outlast")]).arg(file).stdin(Stdio::null());
    command
}

#[test]
fn a_full_disk_at_the_start_is_said_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    // A new file fails in its first bytes, or in the midst of its tables.
    for blocks in [1, 12, 40] {
        let file = directory.path().join(format!("new-{blocks}.db"));
        let said = refused(&mut on_a_full_disk(&file, blocks));
        assert!(said.starts_with("outlast: ") && said.contains(&*file.to_string_lossy()), "{said}");
        // With room it starts from there.
        let mut server = Serving::on(&file);
        server.signal("-TERM");
        assert_eq!(server.end(), (Some(0), String::new()));
        // One that is there fails as it opens, or in what is written first.
        let said = refused(&mut on_a_full_disk(&file, blocks));
        assert!(said.starts_with("outlast: ") && said.contains(&*file.to_string_lossy()), "{said}");
    }
}

#[test]
fn a_place_that_takes_no_files_is_said_in_one_line() {
    // No user can create files there, root included.
    let said = refused(&mut start_dev(Path::new("/sys/outlast.db")));
    assert!(said.starts_with("outlast: cannot open the store: cannot open /sys/outlast.db: "), "{said}");
}

#[test]
fn a_daemon_ignores_sighup_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Serving::on(&directory.path().join("outlast.db"));
    server.signal("-HUP");
    let mut said = BufReader::new(server.child.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("SIGHUP is ignored"));
    TcpStream::connect(&server.address).unwrap();
    server.signal("-TERM");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
