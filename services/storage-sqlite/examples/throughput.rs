//! How fast the store is on this machine's disk, and what it costs: `cargo run --release -p storage-sqlite --example
//! throughput -- <directory>`.
//!
//! It writes as shards do under load: appends of a few KiB, one in flight per log, and checkpoints of closed workflows
//! (a run with its history, and its chain) a hundred at a time.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::{join, join_all};
use runtime::Runtime;
use storage::{Append, GroupId, LogId, OwnerNonce, PartitionWrite, Seq, Store};
use storage_sqlite::SqliteStore;

const LOGS: usize = 4;

fn main() {
    let directory = std::env::args().nth(1).expect("a directory for the file");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio.block_on(run(Path::new(&directory)));
}

async fn run(directory: &Path) {
    for (name, group_bytes) in [("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("64 KiB", 64 << 10)] {
        let title = format!("appends of {name} to {LOGS} logs");
        measure(directory, &title, 2000, async |store, count| append_all(store, count, group_bytes).await).await;
    }
    measure(directory, "workflows checkpointed", 20_000, async |store, count| checkpoint_all(store, count).await).await;
    measure(directory, "workflows, appended and checkpointed", 20_000, async |store, count| {
        // Some 3 KiB of changes for each, in groups of about ten.
        join(append_all(store.clone(), count / 10, 30 << 10), checkpoint_all(store, count)).await;
    })
    .await;
    measure(directory, "reads of absent rows, 50 at a time", 100_000, read_absent).await;
}

/// Runs `work` on a new store and prints what it took, for each of `count` pieces of it.
async fn measure<F: Future<Output = ()>>(
    directory: &Path,
    title: &str,
    count: u64,
    work: impl FnOnce(Store, u64) -> F,
) {
    let path = directory.join("throughput.db");
    let sqlite = SqliteStore::open(&path).expect("a new file");
    let (runtime, cpu_before) = (Runtime::system(), cpu_ticks());
    let began = runtime.now();
    work(sqlite.store(), count).await;
    let seconds = runtime.now().since(began).as_secs_f64();
    // A tick is 10 ms.
    let cpu_us = (cpu_ticks() - cpu_before) as f64 * 10_000.0 / count as f64;
    let stats = sqlite.stats();
    println!(
        "{title}: {:.0}/s, {cpu_us:.0} us of CPU each; {:.0} commits/s, {} checkpoints, {} KiB written each",
        count as f64 / seconds,
        stats.fsyncs as f64 / seconds,
        stats.checkpoints,
        written_kib() / count,
    );
    sqlite.close().await;
    std::fs::remove_file(directory.join("throughput.db")).expect("the file is there");
}

/// User and system time of this process.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().expect("always there").split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// What this process has written since the last call, in KiB.
fn written_kib() -> u64 {
    static BEFORE: AtomicU64 = AtomicU64::new(0);
    let io = std::fs::read_to_string("/proc/self/io").expect("Linux");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("always there");
    let now = line.parse::<u64>().expect("a number") >> 10;
    now - BEFORE.swap(now, Ordering::Relaxed)
}

async fn append_all(store: Store, count: u64, group_bytes: usize) {
    let per_log = count / LOGS as u64;
    join_all((0..LOGS).map(async |number| {
        let log = LogId(format!("history/{number}"));
        let epoch = store.log.open(&log, OwnerNonce(1)).await.expect("opened").head.epoch;
        let bytes = Bytes::from(vec![7; group_bytes]);
        for seq in 1..=per_log {
            let outcome = store.log.append(&log, epoch, Seq(seq), GroupId(u128::from(seq)), bytes.clone()).await;
            assert_eq!(outcome, Append::Appended);
            if seq % 64 == 0 {
                store.log.trim(&log, epoch, Seq(seq - 32)).await;
            }
        }
    }))
    .await;
}

async fn checkpoint_all(store: Store, count: u64) {
    join_all((0..LOGS as u64).map(async |shard| {
        for batch in 0..count / LOGS as u64 / 100 {
            let numbers = (0..100).map(|n| (batch * 100 + n) * LOGS as u64 + shard);
            let writes = numbers.flat_map(|number| [run_of(number), chain_of(number)]).collect();
            store.table.write(writes).await.expect("written");
        }
    }))
    .await;
}

/// Spread over the key space, as hashed ids are.
fn scattered(number: u64, kind: &str) -> Bytes {
    Bytes::from(format!("{:016x}-{kind}-0123456789abcdef", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

fn run_of(number: u64) -> PartitionWrite {
    let rows = [("state", 1200), ("history/1", 700), ("history/4", 400), ("history/7", 400), ("history/9", 300)];
    let puts = rows.map(|(key, bytes)| (Bytes::from_static(key.as_bytes()), Bytes::from(vec![7; bytes])));
    PartitionWrite { partition: scattered(number, "run"), version: number + 1, puts: puts.into(), deletes: vec![] }
}

fn chain_of(number: u64) -> PartitionWrite {
    let puts = vec![(Bytes::from_static(b"chain"), Bytes::from(vec![7; 200]))];
    PartitionWrite { partition: scattered(number, "chain"), version: number + 1, puts, deletes: vec![] }
}

async fn read_absent(store: Store, count: u64) {
    store.log.open(&LogId("history/0".to_owned()), OwnerNonce(1)).await.expect("opened");
    let key = Bytes::from_static(b"state");
    join_all((0..50).map(async |reader| {
        for n in 0..count / 50 {
            let row = store.table.get(&scattered(n * 50 + reader, "run"), &key).await.expect("read");
            assert_eq!(row, None);
        }
    }))
    .await;
}
