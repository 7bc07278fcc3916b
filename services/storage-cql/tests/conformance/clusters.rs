//! The suite on other databases: three nodes, both versions of Paxos, and behind a proxy that is slow. Long, so they run
//! only where `OUTLAST_CASSANDRA_LONG=1` says so (`make test-long`), and say when they do not.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use cql_proxy::{Class, Fault, Rule};
use runtime::Runtime;
use storage::{Append, Epoch, GroupId, Log, LogId, OwnerNonce, Seq};

use crate::connect;
use crate::database::{Database, Start};
use crate::proxied::proxy_before;

/// Whether the long tests are asked for; says so if `what` is left out.
pub fn is_wanted(what: &str) -> bool {
    let wanted = std::env::var("OUTLAST_CASSANDRA_LONG").is_ok_and(|value| value == "1");
    if !wanted {
        // Past the capture of a passing test's output.
        let _ = writeln!(std::io::stderr(), "NOT RUN: {what}; OUTLAST_CASSANDRA_LONG=1 runs it");
    }
    wanted
}

const OWNER: OwnerNonce = OwnerNonce(1);

/// The suite, and the suite alone.
const SUITE: &[&str] = &["as_served::", "always_rolling::"];
/// The suite, and what loses answers.
const SUITE_AND_FAULTS: &[&str] = &["as_served::", "always_rolling::", "layout::", "steps::", "storms::"];

/// Runs tests of this binary in a process of their own, on a database that is already there.
fn run(filters: &[&str], contact_points: &[String], what: &str) {
    let tests = std::env::current_exe().expect("this binary has a path");
    let mut suite = Command::new(tests);
    suite
        .args(filters)
        .args(["--test-threads", "2"])
        .env("OUTLAST_CASSANDRA", contact_points.join(","))
        .env("STORM_ROUNDS", "600");
    let output = suite.output().expect("this binary can be run again");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let summary = stdout.lines().rfind(|line| line.starts_with("test result:")).unwrap_or("no result").to_owned();
    let failures: String =
        stdout.lines().filter(|line| line.contains("FAILED")).map(|line| format!("{line}\n")).collect();
    assert!(output.status.success(), "{what}: {summary}\n{failures}");
    let _ = writeln!(std::io::stderr(), "{what}: {summary}");
}

#[test]
fn one_node_with_paxos_v1() {
    if is_wanted("the suite on one node with Paxos v1") {
        let database = Database::start(Start { name: "v1", paxos: "v1", ..Start::ONE });
        run(SUITE_AND_FAULTS, &database.contact_points, "one node, Paxos v1");
        database.stop();
    }
}

/// What comes after the release that `make test` runs on.
#[test]
fn one_node_of_the_next_release() {
    const NEXT: &str = "6.0-alpha2";
    if is_wanted(&format!("the suite on one node of Cassandra {NEXT}")) {
        let more = vec!["--version".to_owned(), NEXT.to_owned()];
        let database = Database::start(Start { name: "next", more, ..Start::ONE });
        run(SUITE_AND_FAULTS, &database.contact_points, &format!("one node, Cassandra {NEXT}"));
        database.stop();
    }
}

#[test]
fn three_nodes_with_either_paxos() {
    for paxos in ["v1", "v2"] {
        if is_wanted(&format!("the suite on three nodes with Paxos {paxos}")) {
            let name = if paxos == "v1" { "three-v1" } else { "three-v2" };
            let database = Database::start(Start { name, nodes: 3, paxos, ..Start::ONE });
            run(SUITE_AND_FAULTS, &database.contact_points, &format!("three nodes, Paxos {paxos}"));
            database.stop();
        }
    }
}

/// Delays change nothing about any answer. (Lost answers do, and are `steps` and `storms`.)
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database() {
    if !is_wanted("the suite behind a slow proxy") {
        return;
    }
    let database = Database::start(Start { name: "slow", ..Start::ONE });
    let proxy = proxy_before(&database.contact_points, 7).await;
    let classes = [Class::Conditional, Class::Write, Class::Read];
    let before = Fault::DelayRequest { min_ms: 1, max_ms: 60 };
    let after = Fault::DelayReply { min_ms: 1, max_ms: 60 };
    let rules = classes.map(|class| [Rule::new(class, 0.1, before.clone()), Rule::new(class, 0.1, after.clone())]);
    proxy.control().set_rules(rules.concat());
    let points: Vec<String> = proxy.addresses().iter().map(ToString::to_string).collect();
    #[allow(clippy::disallowed_methods, reason = "another process is waited for")]
    tokio::task::spawn_blocking(move || run(SUITE, &points, "behind a slow proxy")).await.expect("the suite ran");
    database.stop();
}

/// A node that is paused, and one that is killed and comes back, under random faults: a quorum goes on.
#[test]
fn three_nodes_of_which_one_fails() {
    if !is_wanted("storms on three nodes of which one fails") {
        return;
    }
    let database = Database::start(Start { name: "failing", nodes: 3, ..Start::ONE });
    let points = database.contact_points.clone();
    // The first node stays, since the storm's own session begins there.
    #[allow(clippy::disallowed_methods, reason = "another process is waited for")]
    let storm = std::thread::spawn(move || run(&["storms::"], &points, "three nodes of which one fails"));
    for _ in 0..2 {
        pause(5);
        database.node("pause", 2);
        pause(5);
        database.node("resume", 2);
        pause(3);
        database.node("kill", 3);
        pause(3);
        database.node("restart", 3);
    }
    assert!(storm.join().is_ok(), "the storm failed");
    database.stop();
}

/// As nodes in containers do: each comes back under another address, until no node is left where the store has first asked.
#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_that_all_move() {
    if !is_wanted("a store whose nodes come back under other addresses") {
        return;
    }
    let database = Database::start(Start { name: "moving", nodes: 3, ..Start::ONE });
    database.apply_schema().await;
    let store = connect(&database.settings()).await;
    let (log, id) = (store.store().log, LogId("moving".into()));
    let mut epoch = log.open(&id, OWNER).await.expect("three nodes serve").head.epoch;
    for number in 1..=3 {
        database.move_node(number);
        let appending = append_somehow(&*log, &id, &mut epoch, number);
        let appended = Runtime::system().timeout(Duration::from_secs(120), appending).await;
        appended.unwrap_or_else(|| panic!("node {number} has moved, and nothing can be appended"));
    }
    let tail = log.open(&id, OwnerNonce(2)).await.expect("three nodes serve").tail;
    assert_eq!(tail.len(), 3);
    database.stop();
}

/// The group of this number, appended once, however long that takes: at once, or when it is known where the nodes are now.
async fn append_somehow(log: &dyn Log, id: &LogId, epoch: &mut Epoch, number: u32) {
    let group = GroupId(u128::from(number));
    while log.append(id, *epoch, Seq(u64::from(number)), group, "a group".into()).await != Append::Appended {
        // What was unknown is settled by opening the log again.
        if let Ok(opened) = log.open(id, OWNER).await {
            *epoch = opened.head.epoch;
            if opened.tail.iter().any(|found| found.id == group) {
                return;
            }
        }
        Runtime::system().sleep(Duration::from_millis(500)).await;
    }
}

#[allow(clippy::disallowed_methods, reason = "other processes are given time to fail")]
fn pause(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}
