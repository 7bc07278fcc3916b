//! The suite on other databases: three nodes, both versions of Paxos, and behind a proxy that is slow. Long, so they run
//! only where `OUTLAST_CASSANDRA_LONG=1` says so (`make test-long`), and say when they do not.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

use cql_proxy::{Class, Fault, Proxy, Route, Rule};

use crate::database::{Database, Start};

fn is_wanted(what: &str) -> bool {
    let wanted = std::env::var("OUTLAST_CASSANDRA_LONG").is_ok_and(|value| value == "1");
    if !wanted {
        // Past the capture of a passing test's output.
        let _ = writeln!(std::io::stderr(), "NOT RUN: {what}; OUTLAST_CASSANDRA_LONG=1 runs it");
    }
    wanted
}

/// Runs the suite's tests in a process of their own, on a database that is already there.
fn run_suite(contact_points: &[String], what: &str) {
    let tests = std::env::current_exe().expect("this binary has a path");
    let mut suite = Command::new(tests);
    suite
        .args(["as_served::", "always_rolling::", "--test-threads", "2"])
        .env("OUTLAST_CASSANDRA", contact_points.join(","))
        .env_remove("OUTLAST_CASSANDRA_LONG");
    let output = suite.output().expect("this binary can be run again");
    let told = String::from_utf8_lossy(&output.stdout);
    let summary = told.lines().rfind(|line| line.starts_with("test result:")).unwrap_or("no result").to_owned();
    let failures: String =
        told.lines().filter(|line| line.contains("FAILED")).map(|line| format!("{line}\n")).collect();
    assert!(output.status.success(), "{what}: {summary}\n{failures}");
    let _ = writeln!(std::io::stderr(), "{what}: {summary}");
}

#[test]
fn one_node_with_paxos_v1() {
    if is_wanted("the suite on one node with Paxos v1") {
        let database = Database::start(Start { name: "v1", paxos: "v1", ..Start::ONE });
        run_suite(&database.contact_points, "one node, Paxos v1");
        database.stop();
    }
}

#[test]
fn three_nodes_with_either_paxos() {
    for paxos in ["v1", "v2"] {
        if is_wanted(&format!("the suite on three nodes with Paxos {paxos}")) {
            let name = if paxos == "v1" { "three-v1" } else { "three-v2" };
            let database = Database::start(Start { name, nodes: 3, paxos, proxied: false });
            run_suite(&database.contact_points, &format!("three nodes, Paxos {paxos}"));
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
    let upstream: SocketAddr = database.contact_points[0].parse().expect("an address");
    let route = Route { listen: (upstream.ip(), 0).into(), upstream };
    let proxy = Proxy::start(&[route], 7).await.expect("a free port");
    let classes = [Class::Conditional, Class::Write, Class::Read];
    let before = Fault::DelayRequest { min_ms: 1, max_ms: 60 };
    let after = Fault::DelayReply { min_ms: 1, max_ms: 60 };
    let rules = classes.map(|class| [Rule::new(class, 0.1, before.clone()), Rule::new(class, 0.1, after.clone())]);
    proxy.control().set_rules(rules.concat());
    let points: Vec<String> = proxy.addresses().iter().map(ToString::to_string).collect();
    tokio::task::spawn_blocking(move || run_suite(&points, "behind a slow proxy")).await.expect("the suite ran");
    database.stop();
}
