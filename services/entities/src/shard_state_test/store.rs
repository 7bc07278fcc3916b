//! A store of plain values, for one log: what a job does to it, and what the shard hears of that.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures::FutureExt;
use ids::Timestamp;
use storage::{
    Append, Epoch, Group, Head, LogId, Opened, PartitionKey, PartitionPage, PartitionWrite, Reopen, Row, RowKey,
    ScanPage, Seq, StorageError, Version,
};

use super::tally::{Count, Tally};
use crate::arrival::Arrival;
use crate::checkpoint::batch::{Batch, Part, WriteOutcome, Written, writes_of};
use crate::group::decode_group;
use crate::job::Job;
use crate::kinds::Entry;
use crate::loading::{Fetched, Loaded};
use crate::opening::Opening;
use crate::tail::read_tail;
use crate::wake_ups::buckets::{Bucket, Index};
use crate::wake_ups::rows::{WakeUpPage, WakeUpsRead};
use crate::{EntityKey, Kind, RowAddress, quarantine};

/// What goes wrong with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It happens, and its outcome is unknown.
    Unheard,
    /// It does not happen, and its outcome is unknown.
    Lost,
}

pub fn key(entity: &str) -> EntityKey {
    EntityKey::of::<Tally>("n", entity)
}

/// Put, or deleted.
type Versioned = (Version, Option<Bytes>);

pub struct Store {
    /// Who opened the log last.
    owner: u64,
    epoch: Epoch,
    groups: BTreeMap<u64, Group>,
    last: Seq,
    trimmed_below: Seq,
    watermark: Timestamp,
    rows: BTreeMap<(PartitionKey, RowKey), Versioned>,
    /// What the log has ever said of each entity.
    logged: BTreeMap<String, Count>,
}

impl Store {
    pub fn new(now: Timestamp) -> Self {
        Self {
            owner: 0,
            epoch: Epoch(0),
            groups: BTreeMap::new(),
            last: Seq(0),
            trimmed_below: Seq(1),
            watermark: Bucket::of(now).start(),
            rows: BTreeMap::new(),
            logged: BTreeMap::new(),
        }
    }

    pub fn owner(&self) -> u64 {
        self.owner
    }

    pub fn last(&self) -> Seq {
        self.last
    }

    /// Another owner opens the log.
    pub fn steal(&mut self) {
        self.owner += 1;
        self.epoch = Epoch(self.epoch.0 + 1);
    }

    /// What is durable.
    pub fn logged(&self, entity: &str) -> Count {
        self.logged.get(entity).copied().unwrap_or_default()
    }

    /// What the entity's row says.
    pub fn stored(&self, entity: &str) -> Count {
        let key = key(entity);
        let row = self.get(&Tally.address(&key, &Tally.root()));
        let mut count = Count::default();
        Tally.decode_part(&key, &mut count, &Tally.root(), row.map(|row| row.value)).unwrap();
        count
    }

    pub fn opened(&self) -> Opened {
        let Self { epoch, last, trimmed_below, watermark, .. } = *self;
        Opened { head: Head { epoch, last, trimmed_below, watermark }, tail: self.groups.values().cloned().collect() }
    }

    pub fn open(&mut self, log: &LogId) -> Opening {
        self.steal();
        let opened = self.opened();
        let tail = read_tail(log, &opened, |_| true).unwrap();
        let of_quarantine = self.scan(&quarantine::partition(log), &RowKey::new());
        let quarantined =
            of_quarantine.iter().filter_map(|row| quarantine::read_row(log, row)).collect::<HashMap<_, _>>();
        let mut index = Index::unread(log);
        index.read(&self.scan(&index.partition().clone(), &RowKey::new()));
        Opening { head: opened.head, tail, quarantined, index }
    }

    fn get(&self, address: &RowAddress) -> Option<Row> {
        let (version, value) = self.rows.get(&(address.partition.clone(), address.key.clone()))?;
        Some(Row { key: address.key.clone(), value: value.clone()?, version: *version })
    }

    fn scan(&self, partition: &PartitionKey, from: &RowKey) -> Vec<Row> {
        let rows = self.rows.range((partition.clone(), from.clone())..).take_while(|((of, _), _)| of == partition);
        let row = |((_, key), (version, value)): (&(PartitionKey, RowKey), &Versioned)| {
            Some(Row { key: key.clone(), value: value.clone()?, version: *version })
        };
        rows.filter_map(row).collect()
    }

    fn write(&mut self, writes: Vec<PartitionWrite>) {
        for PartitionWrite { partition, version, puts, deletes } in writes {
            let puts = puts.into_iter().map(|(key, value)| (key, Some(value)));
            for (key, value) in puts.chain(deletes.into_iter().map(|key| (key, None))) {
                let stored = self.rows.entry((partition.clone(), key)).or_default();
                if version == stored.0 && stored.1.is_some() && value.is_some() {
                    assert_eq!(stored.1, value, "version {version} of a row is put twice, with other values");
                }
                if version > stored.0 || version == stored.0 && value.is_some() {
                    *stored = (version, value);
                }
            }
        }
    }

    /// Writes to the log as its owner under `epoch`.
    fn as_owner(&mut self, epoch: Epoch, fault: Fault, write: impl FnOnce(&mut Self) -> bool) -> Append {
        match fault {
            Fault::Lost => Append::Unknown,
            _ if self.epoch > epoch => Append::Fenced,
            _ if !write(self) => Append::Unknown,
            Fault::Unheard => Append::Unknown,
            Fault::None => Append::Appended,
        }
    }

    fn append(&mut self, group: Group) -> bool {
        if group.seq != self.last.next() {
            return false;
        }
        for entry in decode_group(group.bytes.clone()).unwrap().entries {
            for change in entry.changes {
                self.logged.insert(entry.id.clone(), Tally.decode_change(change).unwrap());
            }
        }
        self.last = group.seq;
        self.groups.insert(group.seq.0, group);
        true
    }

    fn reopen(&mut self, epoch: Epoch, owner: u64, fault: Fault) -> Reopen {
        if fault == Fault::Lost {
            return Reopen::Unknown;
        }
        if owner != self.owner || self.epoch.0 > epoch.0 + 1 {
            return Reopen::Fenced;
        }
        self.epoch = Epoch(epoch.0 + 1);
        if fault == Fault::Unheard { Reopen::Unknown } else { Reopen::Reopened(self.opened()) }
    }

    fn load(&self, kind: &Entry, key: &EntityKey, tail: &[(Seq, Bytes)]) -> Loaded {
        let mut newest = 0;
        let loaded = kind.kind.load(key, tail).and_then(|mut loading| {
            loop {
                let wanted = loading.wants(key);
                if wanted.is_empty() {
                    return loading.finish(key);
                }
                let rows: Vec<_> = wanted.iter().map(|address| self.get(address)).collect();
                newest = rows.iter().flatten().map(|row| row.version).fold(newest, Version::max);
                loading.add(key, rows)?;
            }
        });
        match loaded {
            Ok(entity) => Loaded::Entity(entity, newest),
            Err(corrupt) => Loaded::Corrupt(corrupt.0),
        }
    }

    fn write_batch(&mut self, batch: Batch, fault: Fault) -> Arrival {
        if fault != Fault::Lost {
            self.write(writes_of(&batch.parts, batch.needs));
        }
        if fault != Fault::None {
            return Arrival::BatchFailed(batch);
        }
        let parts = batch.parts.into_iter().map(|part| (part, WriteOutcome::Written)).collect();
        Arrival::Checkpointed(Written { batch: Some(batch.id), parts })
    }

    fn write_parts(&mut self, batch: Option<u64>, parts: Vec<Part>, fault: Fault) -> Arrival {
        let mut write = |part: Part| {
            if fault != Fault::Lost {
                self.write(writes_of(std::slice::from_ref(&part), part.taken.version));
            }
            (part, if fault == Fault::None { WriteOutcome::Written } else { WriteOutcome::Unknown })
        };
        let parts = parts.into_iter().map(&mut write).collect();
        Arrival::Checkpointed(Written { batch, parts })
    }

    fn read_wake_ups(&self, bucket: Bucket, from: &RowKey) -> WakeUpPage {
        let log = LogId("test/0".to_owned());
        WakeUpPage::of(&ScanPage { rows: self.scan(&bucket.partition(&log), from), more: false })
    }

    /// Does a job, and says what the shard is to hear of it.
    pub fn perform(&mut self, job: Job, owner: u64, fault: Fault) -> Arrival {
        let unknown = || StorageError::Unknown("a fault".to_owned());
        let is_lost = fault != Fault::None;
        match job {
            Job::Append { epoch, seq, id, bytes } => {
                let append = |store: &mut Self| store.append(Group { seq, id, epoch, bytes });
                Arrival::Appended { epoch, outcome: self.as_owner(epoch, fault, append) }
            }
            Job::Reopen { epoch, .. } => Arrival::Reopened(Ok(self.reopen(epoch, owner, fault))),
            Job::CheckFence { .. } => Arrival::Fence(if is_lost { Err(unknown()) } else { Ok(self.epoch) }),
            Job::Trim { epoch, below } => {
                let trim = |store: &mut Self| {
                    store.trimmed_below = store.trimmed_below.max(below);
                    store.groups = store.groups.split_off(&below.0);
                    true
                };
                Arrival::Trimmed { epoch, below, outcome: self.as_owner(epoch, fault, trim) }
            }
            Job::Load { slot, again, kind, key, tail } => {
                let loaded = if is_lost { Loaded::Unreachable } else { self.load(&kind, &key, &tail) };
                Arrival::Loaded { slot, again, loaded }
            }
            Job::Fetch { slot, rows, .. } => {
                let found = rows.iter().map(|address| self.get(address)).collect();
                let fetched = if is_lost { Fetched::Unreachable(rows) } else { Fetched::Rows(found) };
                Arrival::Fetched { slot, fetched }
            }
            Job::WriteBatch(batch) => self.write_batch(batch, fault),
            Job::WriteParts { batch, parts, .. } => self.write_parts(batch, parts, fault),
            Job::ReadWakeUps { bucket, from, .. } => Arrival::WakeUps(match is_lost {
                true => WakeUpsRead::Unreachable(unknown()),
                false => WakeUpsRead::Page(self.read_wake_ups(bucket, &from)),
            }),
            Job::ListPartitions { .. } => Arrival::Partitions(match is_lost {
                true => Err(unknown()),
                false => Ok(PartitionPage { partitions: Vec::new(), next: None }),
            }),
            Job::MoveWatermark { epoch, to, rows, .. } => {
                if fault != Fault::Lost {
                    self.write(rows);
                }
                let moved = |store: &mut Self| {
                    store.watermark = store.watermark.max(to.start());
                    true
                };
                Arrival::Watermark { epoch, at: to, outcome: self.as_owner(epoch, fault, moved) }
            }
            Job::DropBuckets { partitions, index } => {
                if fault != Fault::Lost {
                    self.rows.retain(|(partition, _), _| !partitions.contains(partition));
                    self.write(index.into_iter().collect());
                }
                Arrival::BucketsDropped
            }
            Job::CarryOut { slot, kind, key, id, obligation } => {
                let carried_out = kind.kind.carry_out(key, obligation).now_or_never().flatten();
                Arrival::CarriedOut { slot, id, input: carried_out.filter(|_| !is_lost) }
            }
            Job::Sleep { then, .. } => then,
            Job::AbortObligations | Job::Reply(_) | Job::Release(_) | Job::Committed { .. } | Job::Flushed(_) => {
                unreachable!("these are done as soon as they are asked for")
            }
        }
    }
}
