//! The buckets that wake-up rows lie in, and which of them there are.
//!
//! A log's index has a row for each bucket that may have rows, written together with the first of them or before. So to open
//! a shard, to read ahead and to move the watermark costs what is stored, however much time has passed. A bucket's
//! row in the index goes after the bucket. One that is left behind, or was written for rows that never came, costs
//! a look and nothing else.
//!
//! Where the index is damaged, any bucket may have rows, and they are gone through one by one. Its damaged rows go with the
//! buckets that they are about.

use std::collections::BTreeSet;

use bytes::Bytes;
use ids::Timestamp;
use storage::{LogId, PartitionKey, PartitionWrite, Row, RowKey, Version};

use crate::RowAddress;

/// The span of a bucket. Part of the stored format.
const BUCKET_NANOS: i64 = 600 * 1_000_000_000;
/// How many buckets the watermark passes at a time, and so how many could be left behind by a crash before they are dropped.
const STRIDE: usize = 16;

/// What the names of the partitions of indexes begin with.
pub(super) const INDEX: &[u8] = b"wake-up-buckets/";
/// What the names of buckets' partitions begin with.
pub(super) const ROWS: &[u8] = b"wake-ups/";

/// A span of time whose wake-up rows share a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Bucket(i64);

impl Bucket {
    pub(crate) fn of(at: Timestamp) -> Self {
        Self(at.nanos().div_euclid(BUCKET_NANOS))
    }

    pub(crate) fn start(self) -> Timestamp {
        Timestamp::from_nanos(self.0.saturating_mul(BUCKET_NANOS))
    }

    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(crate) fn partition(self, log: &LogId) -> PartitionKey {
        [ROWS, log.0.as_bytes(), b"/", self.0.to_string().as_bytes()].concat().into()
    }

    fn index_key(self) -> RowKey {
        // Offset, so that rows sort by time on both sides of the epoch.
        Bytes::copy_from_slice(&(self.0.cast_unsigned() ^ (1 << 63)).to_be_bytes())
    }

    pub(super) fn of_index_key(key: &[u8]) -> Option<Self> {
        let number = <[u8; 8]>::try_from(key).ok()?;
        Some(Self((u64::from_be_bytes(number) ^ (1 << 63)).cast_signed()))
    }
}

fn index_partition(log: &LogId) -> PartitionKey {
    [INDEX, log.0.as_bytes()].concat().into()
}

/// Which buckets of a log may have rows.
pub(crate) struct Index {
    partition: PartitionKey,
    /// Whether it may lack some.
    is_damaged: bool,
    buckets: BTreeSet<Bucket>,
    /// Those whose row in the index this owner has written durably. What it found when it opened the log may lie on one replica.
    stored: BTreeSet<Bucket>,
}

impl Index {
    fn of(log: &LogId, buckets: impl IntoIterator<Item = i64>) -> Self {
        let buckets = buckets.into_iter().map(Bucket).collect();
        Self { partition: index_partition(log), is_damaged: false, stored: BTreeSet::new(), buckets }
    }

    /// The index of a log of which nothing has been read yet.
    pub(crate) fn unread(log: &LogId) -> Self {
        Self::of(log, [])
    }

    /// Where it lies.
    pub(crate) fn partition(&self) -> &PartitionKey {
        &self.partition
    }

    /// Adds what rows of it say. Only a log's owner writes them, so they stay true until the log is opened by another.
    pub(crate) fn read(&mut self, rows: &[Row]) {
        for row in rows {
            match Bucket::of_index_key(&row.key) {
                Some(bucket) => drop(self.buckets.insert(bucket)),
                None => self.is_damaged = true,
            }
        }
    }

    /// Its rows cannot be read: any bucket may have rows.
    pub(crate) fn distrust(&mut self) {
        self.is_damaged = true;
    }

    /// A row is about to be written into this bucket. What must be written with it, if anything.
    pub(super) fn add(&mut self, bucket: Bucket) -> Option<RowAddress> {
        self.buckets.insert(bucket);
        let address = || RowAddress { partition: self.partition.clone(), key: bucket.index_key() };
        (!self.stored.contains(&bucket)).then(address)
    }

    /// These rows are durable, some of which may be of the index.
    pub(super) fn written(&mut self, rows: &[RowAddress]) {
        let of_index = rows.iter().filter(|row| row.partition == self.partition);
        self.stored.extend(of_index.filter_map(|row| Bucket::of_index_key(&row.key)));
    }

    /// The first bucket from this one on that may have rows; `end` if there is none before.
    pub(super) fn first_from(&self, from: Bucket, end: Bucket) -> Bucket {
        if self.is_damaged || from >= end {
            return from;
        }
        self.buckets.range(from..end).next().copied().unwrap_or(end)
    }

    /// How far a watermark may move at once on its way to `limit`.
    pub(super) fn stride(&self, watermark: Bucket, limit: Bucket) -> Bucket {
        if watermark >= limit {
            return limit;
        }
        if self.is_damaged {
            return Bucket(limit.0.min(watermark.0 + STRIDE as i64));
        }
        self.buckets.range(watermark..limit).nth(STRIDE).copied().unwrap_or(limit)
    }

    /// Takes out the buckets that a watermark passes, to be dropped.
    pub(super) fn pass(&mut self, from: Bucket, to: Bucket) -> Vec<Bucket> {
        let passed: Vec<_> = match self.is_damaged {
            true => (from.0..to.0).map(Bucket).collect(),
            false => self.buckets.range(from..to).copied().collect(),
        };
        self.buckets.retain(|bucket| !(from..to).contains(bucket));
        self.stored.retain(|bucket| *bucket >= to);
        passed
    }

    /// What an owner before this one may have passed without getting to drop it.
    pub(super) fn pass_left_behind(&mut self, watermark: Bucket) -> Vec<Bucket> {
        let from = if self.is_damaged { watermark.0 - STRIDE as i64 } else { i64::MIN };
        self.pass(Bucket(from), watermark)
    }

    /// Takes the rows of dropped buckets out of the index.
    pub(super) fn without(&self, dropped: &[Bucket], version: Version) -> Option<PartitionWrite> {
        (!dropped.is_empty()).then(|| PartitionWrite {
            partition: self.partition.clone(),
            version,
            puts: Vec::new(),
            deletes: dropped.iter().map(|bucket| bucket.index_key()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_index_sort_by_time_and_read_back() {
        let buckets = [i64::MIN, -1, 0, 1, 2_833_333, i64::MAX].map(Bucket);
        let keys = buckets.map(Bucket::index_key);
        assert!(keys.is_sorted());
        assert_eq!(keys.map(|key| Bucket::of_index_key(&key)), buckets.map(Some));
        assert_eq!(Bucket::of_index_key(b"short"), None);
    }

    #[test]
    fn a_stride_passes_a_bounded_number_of_buckets_and_any_amount_of_time() {
        let log = LogId("test".to_owned());
        let mut index = Index::of(&log, (0..20).map(|n| n * 1000));
        assert_eq!(index.stride(Bucket(0), Bucket(10_000_000)), Bucket(16_000));
        assert_eq!(index.pass(Bucket(0), Bucket(16_000)).len(), 16);
        assert_eq!(index.stride(Bucket(16_000), Bucket(10_000_000)), Bucket(10_000_000));
        assert_eq!(index.first_from(Bucket(16_001), Bucket(10_000_000)), Bucket(17_000));
        assert_eq!(index.first_from(Bucket(19_001), Bucket(10_000_000)), Bucket(10_000_000));
        assert_eq!(index.pass_left_behind(Bucket(18_000)), [16_000, 17_000].map(Bucket));
        assert_eq!(index.stride(Bucket(18_000), Bucket(18_000)), Bucket(18_000));
    }

    #[test]
    fn a_bucket_is_written_to_the_index_until_that_is_durable() {
        let mut index = Index::of(&LogId("test".to_owned()), []);
        let row = index.add(Bucket(7)).unwrap();
        assert_eq!(index.add(Bucket(7)), Some(row.clone()));
        index.written(&[row]);
        assert_eq!(index.add(Bucket(7)), None);
    }

    #[test]
    fn where_the_index_is_damaged_every_bucket_may_have_rows_and_it_is_mended_as_they_pass() {
        let mut index = Index { is_damaged: true, ..Index::of(&LogId("test".to_owned()), [5]) };
        assert_eq!(index.first_from(Bucket(2), Bucket(9)), Bucket(2));
        assert_eq!(index.stride(Bucket(0), Bucket(100)), Bucket(16));
        assert_eq!(index.pass_left_behind(Bucket(3)).len(), STRIDE);
        assert!(index.add(Bucket(1)).is_some());
        assert_eq!(index.without(&[Bucket(1)], 1).unwrap().deletes, [Bucket(1).index_key()]);
    }
}
