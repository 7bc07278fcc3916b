//! A numbered workload, a record of what was acknowledged, and the check of what is found afterwards.
//!
//! Three shards work at once, so that their writes share commits. Each opens its log and then, round by round, appends
//! a group, writes its table partition, moves its watermark, sets its registry entry and now and then trims: each only
//! after what came before was acknowledged. So what is found later must be a prefix of that sequence, at least as long
//! as what was acknowledged, and at most one step longer.

use bytes::Bytes;
use ids::Timestamp;
use storage::{
    Append, CompareAndSet, Epoch, GroupId, LogId, OwnerNonce, PartitionWrite, ScanOrder, ScanRange, Seq, Store,
};

pub const SHARDS: usize = 3;

/// In the order in which a shard does them in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    Append,
    Write,
    SetWatermark,
    SetEntry,
    Trim,
}

/// What a shard does `round` by round, from round 1 on; its number is its place in the sequence.
const DEEDS: [Deed; 5] = [Deed::Append, Deed::Write, Deed::SetWatermark, Deed::SetEntry, Deed::Trim];

/// How many deeds of a shard have been acknowledged. The opening of its log comes before the first.
pub type Acknowledged = [usize; SHARDS];

/// How many deeds in `done` are of this kind: the rounds that have come so far with it.
fn rounds_of(done: usize, deed: Deed) -> u64 {
    let place = DEEDS.iter().position(|each| *each == deed).expect("every deed has a place");
    ((done + DEEDS.len() - 1 - place) / DEEDS.len()) as u64
}

fn log_id(shard: usize) -> LogId {
    LogId(format!("history/{shard}"))
}

fn partition(shard: usize) -> Bytes {
    Bytes::from(format!("partition/{shard}"))
}

/// Different for each group, some of several pages.
fn content(shard: usize, round: u64) -> Bytes {
    let length = [10, 300, 6000, 40][usize::try_from(round % 4).expect("below 4")];
    format!("shard {shard} round {round} ").into_bytes().into_iter().cycle().take(length).collect()
}

/// Runs the workload. Each acknowledged deed is passed to `acknowledged` (shard, deeds of it so far) at once; a shard ends
/// at the first deed that is not acknowledged.
pub async fn run(store: &Store, rounds: u64, acknowledged: impl Fn(usize, usize)) {
    let shards = (0..SHARDS).map(|shard| run_shard(store, shard, rounds, &acknowledged));
    futures::future::join_all(shards).await;
}

async fn run_shard(store: &Store, shard: usize, rounds: u64, acknowledged: &impl Fn(usize, usize)) {
    let Ok(opened) = store.log.open(&log_id(shard), OwnerNonce(shard as u128)).await else { return };
    let mut done = 0;
    for round in 1..=rounds {
        for deed in DEEDS {
            if !does(store, shard, opened.head.epoch, round, deed).await {
                return;
            }
            done += 1;
            acknowledged(shard, done);
        }
    }
}

async fn does(store: &Store, shard: usize, epoch: Epoch, round: u64, deed: Deed) -> bool {
    let log = log_id(shard);
    match deed {
        Deed::Append => {
            let id = GroupId(u128::from(round));
            store.log.append(&log, epoch, Seq(round), id, content(shard, round)).await == Append::Appended
        }
        Deed::Write => {
            let write = PartitionWrite {
                partition: partition(shard),
                version: round,
                puts: vec![(Bytes::from_static(b"latest"), Bytes::new()), (row_key(round), content(shard, round))],
                deletes: if round > 2 { vec![row_key(round - 2)] } else { vec![] },
            };
            store.table.write(vec![write]).await.is_ok()
        }
        Deed::SetWatermark => {
            let at = Timestamp::from_millis(round.cast_signed());
            store.log.set_watermark(&log, epoch, at).await == Append::Appended
        }
        Deed::SetEntry => {
            let value = Bytes::from(round.to_string());
            store.registry.compare_and_set(&log.0, round - 1, Some(value)).await == CompareAndSet::Applied
        }
        Deed::Trim => {
            // Every third round; the others do nothing, which is acknowledged all the same.
            store.log.trim(&log, epoch, trimmed_below(round)).await == Append::Appended
        }
    }
}

fn row_key(round: u64) -> Bytes {
    Bytes::from(format!("row {round:05}"))
}

fn trimmed_below(round: u64) -> Seq {
    Seq((round / 3 * 3).max(1))
}

/// What is wrong with what was found after `acknowledged` deeds; `Ok` if nothing.
pub async fn check(store: &Store, acknowledged: &Acknowledged) -> Result<(), String> {
    for (shard, acknowledged) in acknowledged.iter().enumerate() {
        check_shard(store, shard, *acknowledged)
            .await
            .map_err(|wrong| format!("shard {shard} after {acknowledged} acknowledged deeds: {wrong}"))?;
    }
    Ok(())
}

async fn check_shard(store: &Store, shard: usize, acknowledged: usize) -> Result<(), String> {
    let log = log_id(shard);
    // One owner: the epoch is 1 if its open survived, and must be if any deed was acknowledged.
    let epoch = store.log.epoch(&log).await.map_err(|error| error.to_string())?;
    if epoch.0 > 1 || (epoch.0 == 0 && acknowledged > 0) {
        return Err(format!("its epoch is {}", epoch.0));
    }
    let opened = store.log.open(&log, OwnerNonce(99)).await.map_err(|error| error.to_string())?;
    for group in &opened.tail {
        let is_right = group.bytes == content(shard, group.seq.0) && group.id == GroupId(u128::from(group.seq.0));
        if !is_right || group.epoch != Epoch(1) {
            return Err(format!("group {} is not what was appended", group.seq.0));
        }
    }
    let found_entry = store.registry.get(&log.0).await.map_err(|error| error.to_string())?;
    let in_table = rounds_in_table(store, shard).await?;
    let watermark = u64::try_from(opened.head.watermark.nanos() / 1_000_000).expect("never negative");
    let found = |done: usize| {
        rounds_of(done, Deed::Append) == opened.head.last.0
            && rounds_of(done, Deed::Write) == in_table
            && rounds_of(done, Deed::SetWatermark) == watermark
            && rounds_of(done, Deed::SetEntry) == found_entry.as_ref().map_or(0, |entry| entry.version)
            && trimmed_below(rounds_of(done, Deed::Trim)) == opened.head.trimmed_below
    };
    // The deed under way when the lights went out may have happened.
    if found(acknowledged) || found(acknowledged + 1) {
        Ok(())
    } else {
        let entry = found_entry.map_or(0, |entry| entry.version);
        Err(format!("found {:?}, {in_table} rounds in its table, {entry} in its registry entry", opened.head))
    }
}

/// Which round's write the table shows. Each write is atomic, so the rows must be just those it leaves.
async fn rounds_in_table(store: &Store, shard: usize) -> Result<u64, String> {
    let partition = partition(shard);
    let scan = store.table.scan(&partition, ScanRange::default(), ScanOrder::Descending, 100);
    let page = scan.await.map_err(|error| error.to_string())?;
    let Some((newest, others)) = page.rows.split_first() else { return Ok(0) };
    let round = newest.version;
    let mut expected = vec![(row_key(round), content(shard, round), round)];
    if round > 1 {
        expected.push((row_key(round - 1), content(shard, round - 1), round - 1));
    }
    expected.push((Bytes::from_static(b"latest"), Bytes::new(), round));
    let found: Vec<_> =
        [newest].into_iter().chain(others).map(|row| (row.key.clone(), row.value.clone(), row.version)).collect();
    if found == expected { Ok(round) } else { Err(format!("its rows are torn: {} of round {round}", found.len())) }
}
