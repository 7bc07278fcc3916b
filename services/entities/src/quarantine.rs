//! Entities whose bytes cannot be decoded or applied, or whose kind panicked on them: out of service, so that the rest of the
//! shard is served.
//!
//! The changes that the tables do not show yet are copied into a partition of their own; only then may the log forget
//! them. As long as that copy is there the entity stays in quarantine under every owner of the shard, since its rows alone
//! would be out of date. An entity that had no such changes is tried again by the next owner.
//!
//! The quarantine is first written to the log, and copied only once that is durable. So a former owner, however late,
//! quarantines nothing that a new owner goes on serving; and recovery of the log quarantines, and copies again, what the
//! log says.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use storage::{LogId, PartitionKey, PartitionWrite, Row, RowKey, Seq};

use crate::entity_slot::Slot;
use crate::group::{GroupBuffer, decode_group};
use crate::request::Outcome;
use crate::{CallError, EntityKey, packed_key};

/// What the names of its partitions begin with.
const ROWS: &[u8] = b"quarantine/";

/// Where they lie.
pub(crate) fn partition(log: &LogId) -> PartitionKey {
    [ROWS, log.0.as_bytes()].concat().into()
}

/// Whether a row is one of a quarantined entity; `None` for a row of another partition.
pub(crate) fn check_row(partition: &[u8], key: &[u8], value: &Bytes) -> Option<bool> {
    partition.starts_with(ROWS).then(|| match parse_row_key(key) {
        Some((_, Seq(0))) => true,
        Some(_) => decode_group(value.clone()).is_ok(),
        None => false,
    })
}

/// The row of what was changed at `seq`; at 0 the row that says why the entity is here.
fn row_key(key: &EntityKey, seq: Seq) -> RowKey {
    let mut bytes = BytesMut::with_capacity(9 + packed_key::entity_len(key));
    bytes.put_u8(packed_key::FORMAT);
    packed_key::put_entity(&mut bytes, key);
    bytes.put_u64(seq.0);
    bytes.freeze()
}

fn parse_row_key(row: &[u8]) -> Option<(EntityKey, Seq)> {
    let [packed_key::FORMAT, rest @ ..] = row else { return None };
    let mut rest = rest;
    let key = packed_key::take_entity(&mut rest)?;
    Some((key, Seq(u64::from_be_bytes(rest.try_into().ok()?))))
}

/// What is written of a quarantined entity: why, and the changes that its rows may not show.
pub(crate) fn copy_of(log: &LogId, slot: &Slot, reason: &str, version: Seq) -> PartitionWrite {
    let mut puts = vec![(row_key(&slot.key, Seq(0)), Bytes::copy_from_slice(reason.as_bytes()))];
    for changes in slot.recent.chunk_by(|(left, _), (right, _)| left == right) {
        let mut buffer = GroupBuffer::default();
        let bytes: Vec<Bytes> = changes.iter().map(|(_, bytes)| bytes.clone()).collect();
        buffer.push(&slot.key, &bytes, "");
        puts.push((row_key(&slot.key, changes[0].0), buffer.finish()));
    }
    PartitionWrite { partition: partition(log), version: version.0, puts, deletes: Vec::new() }
}

/// Why an entity is quarantined.
#[derive(Clone)]
pub(crate) struct Quarantined {
    pub(crate) reason: Arc<str>,
    /// Where the log says so; 0 if it need not.
    pub(crate) logged_at: Seq,
}

impl Quarantined {
    pub(crate) fn answer(&self) -> Outcome {
        Err(CallError::Quarantined(self.reason.to_string()))
    }
}

/// The quarantined entity that a row names, and why.
pub(crate) fn read_row(log: &LogId, row: &Row) -> Option<(EntityKey, Quarantined)> {
    match parse_row_key(&row.key) {
        Some((key, Seq(0))) => {
            let reason = Arc::from(String::from_utf8_lossy(&row.value));
            Some((key, Quarantined { reason, logged_at: Seq(0) }))
        }
        Some(_) => None,
        None => {
            tracing::error!(log = %log.0, key = ?row.key, "unreadable quarantine row");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use ids::KindId;

    use super::*;

    #[test]
    fn row_keys_read_back() {
        let key = EntityKey { kind: KindId::of_test(0), namespace: "n".into(), id: "ünd so".into() };
        let row = row_key(&key, Seq(7));
        assert_eq!(parse_row_key(&row), Some((key.clone(), Seq(7))));
        let other = EntityKey { kind: KindId::of_test(1), ..key };
        assert_ne!(row, row_key(&other, Seq(7)));
        assert_eq!(parse_row_key(b"\x01\xc8\0\0\0\x09short"), None);
        let later = [&[packed_key::FORMAT + 1], &row[1..]].concat();
        assert_eq!(parse_row_key(&later), None);
    }
}
