//! How long appends of various sizes take, with the group in its row and with it beside the log: what the default of
//! `LogLimits::inline_bytes` was chosen by.
//!
//! `cargo run --release -p storage-cql --example groups -- 127.0.0.1:9042`, with a schema applied by this program in the keyspace
//! `measured`. Say the Paxos version, the commit log's mode and the replication beside what it prints.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use runtime::Runtime;
use storage::{Append, GroupId, LogId, OwnerNonce, Seq};
use storage_cql::{CqlSettings, CqlStore, LogLimits, Timeouts, schema};

const APPENDS: u64 = 60;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nodes = std::env::args().nth(1).ok_or("name the database's nodes: host:port,…")?;
    let contact_points: Vec<String> = nodes.split(',').map(str::to_owned).collect();
    let replicas = if contact_points.len() < 3 { 1 } else { 3 };
    let runtime = Runtime::system();
    let settings = CqlSettings {
        replication: [("datacenter1".to_owned(), replicas)].into(),
        contact_points,
        keyspace: "measured".to_owned(),
        within: runtime.uuid(),
        timeouts: Timeouts { conditional: Duration::from_secs(20), ..Timeouts::default() },
        ..CqlSettings::default()
    };
    schema::apply(&settings, &runtime).await?;
    println!("{:>9}  {:>22}  {:>22}", "bytes", "in the row p50/p95 ms", "beside p50/p95 ms");
    for size in [500, 4 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20] {
        let mut columns = Vec::new();
        for inline_bytes in [usize::MAX, 0] {
            let log = LogLimits { inline_bytes, ..LogLimits::default() };
            columns.push(measure(CqlSettings { log, ..settings.clone() }, &runtime, size).await?);
        }
        println!("{size:>9}  {:>22}  {:>22}", columns[0], columns[1]);
    }
    Ok(())
}

async fn measure(settings: CqlSettings, runtime: &Runtime, size: usize) -> Result<String, Box<dyn Error>> {
    let name = LogId(format!("{size}/{}", settings.log.inline_bytes));
    let store = CqlStore::connect(settings, runtime.clone()).await?;
    let log = store.store().log;
    let epoch = log.open(&name, OwnerNonce(1)).await?.head.epoch;
    let content: Bytes = (0..size).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let mut took = Vec::new();
    for seq in 1..=APPENDS {
        let began = runtime.now();
        let outcome = log.append(&name, epoch, Seq(seq), GroupId(seq.into()), content.clone()).await;
        if outcome != Append::Appended {
            return Ok(format!("{outcome:?} at {seq}"));
        }
        took.push(runtime.now().since(began).as_secs_f64() * 1000.0);
    }
    store.close().await;
    took.sort_by(f64::total_cmp);
    Ok(format!("{:.1} / {:.1}", took[took.len() / 2], took[took.len() * 95 / 100]))
}
