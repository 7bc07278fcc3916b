//! The process dies at every numbered point in turn: around each statement, each commit, each write to the file, each
//! fsync and each answer. What is found afterwards is a prefix that holds everything acknowledged.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage_sqlite::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

use crate::vfs::{self, Verdict};
use crate::workload::{self, SHARDS};

const ROUNDS: u64 = 3;
const DIRECTORY: &str = "OUTLAST_CRASH_DIRECTORY";
const POINT: &str = "OUTLAST_CRASH_POINT";

/// Counts the points as they come by, and dies at one of them.
struct Points {
    passed: AtomicU64,
    fatal: u64,
}

impl Points {
    fn pass(&self) {
        if self.passed.fetch_add(1, Ordering::SeqCst) + 1 == self.fatal {
            std::process::abort();
        }
    }
}

/// The process that dies. Acknowledgements go to a file: what was written to it outlives the process.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn dies_at_its_point() {
    let directory = std::env::var(DIRECTORY).expect("set by the parent");
    let directory = Path::new(&directory);
    let fatal = std::env::var(POINT).expect("set by the parent").parse().unwrap();
    let points = Arc::new(Points { passed: AtomicU64::new(0), fatal });
    let (in_writer, in_file) = (points.clone(), points.clone());
    vfs::watch(
        directory,
        Arc::new(move |_, _| {
            in_file.pass();
            Verdict::Pass
        }),
    );
    let options = SqliteOptions::default().vfs(vfs::NAME).checkpoint_after_bytes(20 << 12);
    let store = options.on_step(move |_| in_writer.pass()).open(&directory.join("store.db")).unwrap();
    let acknowledgements = std::fs::File::create(directory.join("acknowledged")).unwrap();
    workload::run(&store.store(), ROUNDS, |shard, done| {
        (&acknowledgements).write_all(format!("{shard} {done}\n").as_bytes()).unwrap();
    })
    .await;
    store.close().await;
}

/// Has a child die at point `fatal`, and looks at what it leaves. False if it got to its end first.
async fn dies_and_comes_back(fatal: u64) -> bool {
    let directory = TempDir::new().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::dies_at_its_point", "--ignored"])
        .env(DIRECTORY, &path)
        .env(POINT, fatal.to_string())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() || child.status.code().is_none(), "the child failed by itself: {output}");

    let mut acknowledged = [0; SHARDS];
    let lines = std::fs::read_to_string(path.join("acknowledged")).unwrap_or_default();
    for line in lines.lines() {
        let (shard, done) = line.split_once(' ').unwrap();
        acknowledged[shard.parse::<usize>().unwrap()] = done.parse().unwrap();
    }
    let store = SqliteStore::open(&path.join("store.db")).unwrap();
    let outcome = workload::check(&store.store(), &acknowledged).await;
    store.close().await;
    outcome.unwrap_or_else(|wrong| panic!("died at point {fatal}, then {wrong}"));
    if child.status.success() {
        assert_eq!(acknowledged, [ROUNDS as usize * 5; SHARDS], "a child that lives acknowledges all");
    }
    !child.status.success()
}

#[tokio::test]
async fn whatever_was_acknowledged_survives_a_crash_at_any_point() {
    const AT_ONCE: u64 = 4;
    let mut fatal = 1;
    loop {
        let died = futures::future::join_all((fatal..fatal + AT_ONCE).map(dies_and_comes_back)).await;
        if !died.into_iter().all(|died| died) {
            break;
        }
        fatal += AT_ONCE;
    }
    assert!(fatal > 200, "only {fatal} points: is the walk as fine as it was meant to be?");
}
