//! Checksums of what is stored, over what it is, where it belongs and its bytes. So bytes that changed, and bytes that
//! were moved to another place, do not match. Part of the stored format of every adapter.

use ids::Timestamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Epoch, GroupId, LogId, OwnerNonce, Seq, Version};

/// How many bytes of a key a message shows.
const SHOWN_BYTES: usize = 200;

/// What is stored, as a number that begins its checksum.
const ROW: u64 = 1;
const GROUP: u64 = 2;
const ENTRY: u64 = 3;
const HEAD: u64 = 4;

/// Each part is hashed with the sum of those before it as its seed, which keeps neighbours apart without copying them.
struct Sum(u64);

impl Sum {
    fn bytes(self, bytes: &[u8]) -> Self {
        Self(xxh3_64_with_seed(bytes, self.0))
    }

    fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }
}

/// The checksum of a table's row.
#[must_use]
pub fn of_row(partition: &[u8], key: &[u8], version: Version, value: &[u8]) -> u64 {
    Sum(ROW).bytes(partition).bytes(key).number(version).bytes(value).0
}

/// The checksum of a group in a log.
#[must_use]
pub fn of_group(log: &LogId, seq: Seq, id: GroupId, epoch: Epoch, bytes: &[u8]) -> u64 {
    Sum(GROUP).bytes(log.0.as_bytes()).number(seq.0).bytes(&id.0.to_le_bytes()).number(epoch.0).bytes(bytes).0
}

/// The checksum of a registry entry.
#[must_use]
pub fn of_entry(key: &str, version: u64, value: &[u8]) -> u64 {
    Sum(ENTRY).bytes(key.as_bytes()).number(version).bytes(value).0
}

/// What a log's head says, for its checksum.
#[derive(Clone, Copy, Debug)]
pub struct HeadFields<'a> {
    /// Whose head it is.
    pub log: &'a LogId,
    /// The number that an adapter gave the log, where it gives any.
    pub number: u64,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its owner.
    pub owner: OwnerNonce,
    /// The epoch from which a reopen raised it.
    pub reopened_from: Option<Epoch>,
    /// Its trim point.
    pub trimmed_below: Seq,
    /// Its wake-up watermark.
    pub watermark: Timestamp,
}

impl HeadFields<'_> {
    /// The checksum of the head.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        let named = Sum(HEAD).bytes(self.log.0.as_bytes()).number(self.number).number(self.epoch.0);
        let owned = named.bytes(&self.owner.0.to_le_bytes());
        let reopened = match self.reopened_from {
            Some(epoch) => owned.number(epoch.0),
            None => owned.bytes(&[]),
        };
        reopened.number(self.trimmed_below.0).number(self.watermark.nanos().cast_unsigned()).0
    }
}

/// A key as messages show it: what is no printable ASCII is escaped, and what is long is cut.
#[must_use]
pub fn readable(key: &[u8]) -> String {
    match key.get(..SHOWN_BYTES) {
        Some(beginning) if key.len() > SHOWN_BYTES => {
            format!("{}... of {} bytes", beginning.escape_ascii(), key.len())
        }
        _ => key.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(log: &LogId) -> HeadFields<'_> {
        HeadFields {
            log,
            number: 3,
            epoch: Epoch(7),
            owner: OwnerNonce(11),
            reopened_from: None,
            trimmed_below: Seq(5),
            watermark: Timestamp::from_nanos(13),
        }
    }

    /// Stored data depends on these: they never change.
    #[test]
    fn the_checksums_are_those_of_the_stored_format() {
        let log = LogId("history/3".to_owned());
        let long = [7; 5000];
        let sums = [
            of_row(b"", b"", 0, b""),
            of_row(b"partition", b"key", 42, b"value"),
            of_row(b"partition", b"key", 42, &long),
            of_group(&log, Seq(9), GroupId(1 << 100), Epoch(2), b"changes"),
            of_entry("namespaces/a", 1, b"value"),
            head(&log).checksum(),
        ];
        assert_eq!(sums, VECTORS, "{sums:#x?}");
    }

    const VECTORS: [u64; 6] = [
        835_690_548_686_956_699,
        1_458_344_788_315_825_139,
        6_857_441_887_478_482_937,
        12_872_755_752_955_079_379,
        15_590_438_549_206_104_265,
        16_904_512_112_052_157_917,
    ];

    #[test]
    fn every_part_counts_and_none_can_pass_for_its_neighbour() {
        let rows = [
            of_row(b"p", b"k", 1, b"v"),
            of_row(b"pk", b"", 1, b"v"),
            of_row(b"", b"pk", 1, b"v"),
            of_row(b"p", b"kv", 1, b""),
            of_row(b"p", b"k", 2, b"v"),
            of_row(b"p", b"k", 1, b"w"),
            of_entry("k", 1, b"v"),
        ];
        let distinct: std::collections::BTreeSet<u64> = rows.into_iter().collect();
        assert_eq!(distinct.len(), rows.len());
        let log = LogId("history/3".to_owned());
        let changed = [
            head(&log),
            HeadFields { number: 4, ..head(&log) },
            HeadFields { epoch: Epoch(8), ..head(&log) },
            HeadFields { owner: OwnerNonce(12), ..head(&log) },
            HeadFields { reopened_from: Some(Epoch(0)), ..head(&log) },
            HeadFields { trimmed_below: Seq(6), ..head(&log) },
            HeadFields { watermark: Timestamp::EPOCH, ..head(&log) },
        ];
        let distinct: std::collections::BTreeSet<u64> = changed.iter().map(HeadFields::checksum).collect();
        assert_eq!(distinct.len(), changed.len());
    }

    #[test]
    fn keys_are_shown_readable_and_bounded() {
        assert_eq!(readable(b"a\0\xff\n"), "a\\x00\\xff\\n");
        assert_eq!(readable(&[b'a'; 201]), format!("{}... of 201 bytes", "a".repeat(200)));
        assert_eq!(readable(&[b'a'; 200]), "a".repeat(200));
    }
}
