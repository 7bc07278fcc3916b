//! Any sequence of calls has the same outcomes as on the memory adapter.

use bytes::Bytes;
use ids::Timestamp;

use super::{Subject, log_id, noise};
use crate::dice::Dice;
use crate::memory::MemoryStore;
use crate::{Epoch, GroupId, LogId, OwnerNonce, PartitionWrite, ScanOrder, ScanRange, Seq, Store};

const LOGS: usize = 2;
const CALLS: usize = 1500;
const CALLS_BETWEEN_RESTARTS: u64 = 150;

/// Runs the same random calls on the subject and on a memory store, and compares every answer.
pub async fn any_calls_end_as_in_memory(subject: &mut dyn Subject) {
    let model = MemoryStore::new().store();
    let mut dice = Dice::from_seed(42);
    let mut ends = [Seq(0); LOGS];
    for number in 0..CALLS {
        if dice.below(CALLS_BETWEEN_RESTARTS) == 0 {
            subject.restart().await;
        }
        let epochs = [epoch_of(&model, 0).await, epoch_of(&model, 1).await];
        let call = Call::draw(&mut dice, epochs, ends);
        let (found, expected) = (call.on(&subject.store()).await, call.on(&model).await);
        assert_eq!(found, expected, "call {number}: {call:?}");
        if let Call::Append(log, _, seq, _) = call
            && found == "Appended"
        {
            ends[log] = seq;
        }
    }
}

async fn epoch_of(store: &Store, log: usize) -> Epoch {
    store.log.epoch(&name(log)).await.expect("the memory store always answers")
}

fn name(log: usize) -> LogId {
    log_id(&format!("log/{log}"))
}

#[derive(Debug)]
enum Call {
    Open(usize, OwnerNonce),
    Reopen(usize, Epoch, OwnerNonce),
    Append(usize, Epoch, Seq, Bytes),
    Epoch(usize),
    SetWatermark(usize, Epoch, Timestamp),
    Trim(usize, Epoch, Seq),
    Write(Vec<PartitionWrite>),
    Get(Bytes, Bytes),
    Scan(Bytes, ScanRange, ScanOrder, usize),
    DropPartition(Bytes),
    CompareAndSet(String, u64, Option<Bytes>),
    RegistryGet(String),
    RegistryList(String),
}

impl Call {
    /// Few logs, keys and versions, so that calls meet; epochs and positions near those of the logs, so that most calls
    /// succeed and the others fail narrowly.
    fn draw(dice: &mut Dice, epochs: [Epoch; LOGS], ends: [Seq; LOGS]) -> Self {
        let log = usize::from(dice.below(2) == 0);
        let epoch = Epoch((epochs[log].0 + 1).saturating_sub(if dice.below(8) == 0 { dice.below(4) } else { 1 }));
        let owner = OwnerNonce(u128::from(dice.below(2)));
        match dice.below(100) {
            0..2 => Self::Open(log, owner),
            2..6 => Self::Reopen(log, epoch, owner),
            6..30 => {
                let seq = if dice.below(8) == 0 { Seq(ends[log].0 + dice.below(4)) } else { ends[log].next() };
                Self::Append(log, epoch, seq, random_bytes(dice))
            }
            30..32 => Self::Epoch(log),
            32..35 => Self::SetWatermark(log, epoch, Timestamp::from_millis(dice.below(100).cast_signed())),
            35..38 => Self::Trim(log, epoch, Seq((ends[log].0 + 2).saturating_sub(dice.below(8)))),
            38..64 => Self::Write((0..dice.below(4)).map(|_| draw_write(dice)).collect()),
            64..72 => Self::Get(draw_key(dice), draw_key(dice)),
            72..84 => {
                let range = ScanRange { from: draw_key(dice), to: (dice.below(2) == 0).then(|| draw_key(dice)) };
                let order = if dice.below(2) == 0 { ScanOrder::Ascending } else { ScanOrder::Descending };
                Self::Scan(draw_key(dice), range, order, 100)
            }
            84..86 => Self::DropPartition(draw_key(dice)),
            86..94 => {
                let value = (dice.below(4) != 0).then(|| draw_key(dice));
                Self::CompareAndSet(dice.below(3).to_string(), dice.below(4), value)
            }
            94..98 => Self::RegistryGet(dice.below(3).to_string()),
            _ => Self::RegistryList(String::new()),
        }
    }

    /// Makes the call and returns its outcome.
    async fn on(&self, store: &Store) -> String {
        match self {
            Self::Open(log, owner) => format!("{:?}", store.log.open(&name(*log), *owner).await),
            Self::Reopen(log, epoch, owner) => format!("{:?}", store.log.reopen(&name(*log), *epoch, *owner).await),
            Self::Append(log, epoch, seq, bytes) => {
                let id = GroupId(u128::from(epoch.0) << 64 | u128::from(seq.0));
                format!("{:?}", store.log.append(&name(*log), *epoch, *seq, id, bytes.clone()).await)
            }
            Self::Epoch(log) => format!("{:?}", store.log.epoch(&name(*log)).await),
            Self::SetWatermark(log, epoch, at) => {
                format!("{:?}", store.log.set_watermark(&name(*log), *epoch, *at).await)
            }
            Self::Trim(log, epoch, below) => format!("{:?}", store.log.trim(&name(*log), *epoch, *below).await),
            Self::Write(writes) => format!("{:?}", store.table.write(writes.clone()).await),
            Self::Get(partition, key) => format!("{:?}", store.table.get(partition, key).await),
            Self::Scan(partition, range, order, limit) => {
                format!("{:?}", store.table.scan(partition, range.clone(), *order, *limit).await)
            }
            Self::DropPartition(partition) => format!("{:?}", store.table.drop_partition(partition).await),
            Self::CompareAndSet(key, expected, value) => {
                format!("{:?}", store.registry.compare_and_set(key, *expected, value.clone()).await)
            }
            Self::RegistryGet(key) => format!("{:?}", store.registry.get(key).await),
            Self::RegistryList(prefix) => format!("{:?}", store.registry.list(prefix).await),
        }
    }
}

fn random_bytes(dice: &mut Dice) -> Bytes {
    let length = usize::try_from(dice.below(9000)).expect("below 9000");
    noise(length, dice.roll())
}

fn draw_key(dice: &mut Dice) -> Bytes {
    let keys: [&'static [u8]; 5] = [b"", b"a", b"a\0", b"b", b"\xFF"];
    Bytes::from_static(keys[usize::try_from(dice.below(5)).expect("below 5")])
}

fn draw_write(dice: &mut Dice) -> PartitionWrite {
    let version = dice.below(30);
    let (mut puts, mut deletes) = (Vec::new(), Vec::new());
    for _ in 0..dice.below(5) {
        let key = draw_key(dice);
        match dice.below(2) {
            // A put of one version always has one value: the ports say so.
            0 => puts.push((key, Bytes::from(version.to_string()))),
            _ => deletes.push(key),
        }
    }
    PartitionWrite { partition: draw_key(dice), version, puts, deletes }
}
