//! A wake-up as a row: when an entity is due, in the key.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use ids::Timestamp;
use runtime::Backoff;
use storage::{RowKey, ScanPage, StorageError};

use super::buckets::{self, Bucket};
use crate::{EntityKey, packed_key};

/// Between the attempts to read what cannot be reached.
pub(super) const READ_BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(5));

/// The row of an entity that is due then.
pub(crate) fn row_key(due: Timestamp, key: &EntityKey) -> RowKey {
    let mut bytes = BytesMut::with_capacity(9 + packed_key::entity_len(key));
    bytes.put_u8(packed_key::FORMAT);
    // Offset, so that rows sort by time on both sides of the epoch.
    bytes.put_u64((due.nanos() as u64) ^ (1 << 63));
    packed_key::put_entity(&mut bytes, key);
    bytes.freeze()
}

/// The inverse of [`row_key`].
pub(crate) fn parse_row_key(row: &[u8]) -> Option<(Timestamp, EntityKey)> {
    let [packed_key::FORMAT, rest @ ..] = row else { return None };
    let (due, mut rest) = rest.split_first_chunk::<8>()?;
    let due = Timestamp::from_nanos((u64::from_be_bytes(*due) ^ (1 << 63)) as i64);
    let key = packed_key::take_entity(&mut rest)?;
    rest.is_empty().then_some((due, key))
}

/// Whether a row's key is one of wake-ups or of their index; `None` for a row of another partition.
pub(crate) fn check_row(partition: &[u8], key: &[u8]) -> Option<bool> {
    if partition.starts_with(buckets::INDEX) {
        Some(Bucket::of_index_key(key).is_some())
    } else {
        partition.starts_with(buckets::ROWS).then(|| parse_row_key(key).is_some())
    }
}

/// Rows that were read ahead.
pub(crate) struct WakeUpPage {
    pub(crate) due: Vec<(Timestamp, EntityKey)>,
    /// Whether some of its rows cannot be read.
    pub(crate) is_damaged: bool,
    /// Where to go on within the bucket; `None` at its end.
    pub(crate) after: Option<RowKey>,
}

/// How reading a page ended.
pub(crate) enum WakeUpsRead {
    /// The rows, or that they are damaged.
    Page(WakeUpPage),
    /// They cannot be reached now, and why.
    Unreachable(StorageError),
}

impl WakeUpPage {
    /// What these rows say.
    pub(crate) fn of(page: &ScanPage) -> Self {
        let due: Vec<_> = page.rows.iter().filter_map(|row| parse_row_key(&row.key)).collect();
        Self { is_damaged: due.len() < page.rows.len(), due, after: page.next_from() }
    }

    /// A bucket whose rows cannot be read.
    pub(crate) fn unreadable() -> Self {
        Self { due: Vec::new(), is_damaged: true, after: None }
    }
}

#[cfg(test)]
mod tests {
    use ids::KindId;

    use super::*;

    #[test]
    fn rows_sort_by_time_and_read_back() {
        let key = |id: &str| EntityKey { kind: KindId::of_test(0), namespace: "n".into(), id: id.into() };
        let times = [Timestamp::from_nanos(-5), Timestamp::EPOCH, Timestamp::from_millis(7), Timestamp::MAX];
        let rows: Vec<_> = times.iter().map(|at| row_key(*at, &key("workflow é"))).collect();
        assert!(rows.is_sorted());
        for (row, at) in rows.iter().zip(times) {
            assert_eq!(parse_row_key(row), Some((at, key("workflow é"))));
        }
        assert_eq!(parse_row_key(b"short"), None);
        let later = [&[packed_key::FORMAT + 1], &rows[0][1..]].concat();
        assert_eq!(parse_row_key(&later), None);
    }
}
