//! The log's tail as the shard's opener finds it: its groups decoded, and refused as a whole if any is missing or unreadable.

use bytes::Bytes;
use ids::KindId;
use storage::{LogId, Opened, Seq, StorageError, StorageResult};

use crate::EntityKey;
use crate::group::decode_group;

/// A group of the tail.
pub(crate) struct TailGroup {
    pub(crate) seq: Seq,
    pub(crate) bytes: usize,
    pub(crate) entries: Vec<TailEntry>,
}

/// What a group says of an entity.
pub(crate) struct TailEntry {
    pub(crate) key: EntityKey,
    pub(crate) changes: Vec<Bytes>,
    /// Why it cannot be served from here on; empty for a transition.
    pub(crate) quarantined: String,
}

/// Reads the tail; refuses one with holes, with groups that cannot be read, or with entities of a kind that is not hosted here.
/// Which entities such a group is about is said by nothing but its bytes, and what comes after may build on it, so no part of
/// the shard can be served.
pub(crate) fn read_tail(
    log: &LogId,
    opened: &Opened,
    is_hosted: impl Fn(KindId) -> bool,
) -> StorageResult<Vec<TailGroup>> {
    let corrupt = |what: String| StorageError::Corrupt(format!("log {}: {what}", log.0));
    let mut expected = opened.head.trimmed_below;
    let mut tail = Vec::with_capacity(opened.tail.len());
    for group in &opened.tail {
        if group.seq != expected {
            return Err(corrupt(format!("a hole, position {} where {} is due", group.seq.0, expected.0)));
        }
        let entries = read_entries(Bytes::clone(&group.bytes), &is_hosted)
            .map_err(|reason| corrupt(format!("position {}: {reason}", group.seq.0)))?;
        tail.push(TailGroup { seq: group.seq, bytes: group.bytes.len(), entries });
        expected = expected.next();
    }
    if expected != opened.head.last.next() {
        return Err(corrupt(format!(
            "a hole, the tail ends before {} and the log at {}",
            expected.0, opened.head.last.0
        )));
    }
    Ok(tail)
}

fn read_entries(group: Bytes, is_hosted: impl Fn(KindId) -> bool) -> Result<Vec<TailEntry>, String> {
    let entries = decode_group(group)?.entries.into_iter().map(|entry| match entry.key() {
        Some(key) if is_hosted(key.kind) => {
            Ok(TailEntry { key, changes: entry.changes, quarantined: entry.quarantined })
        }
        _ => Err(format!("an entity of kind {}, which is not served here", entry.kind)),
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use ids::Timestamp;
    use storage::{Epoch, Group, GroupId, Head};

    use super::*;
    use crate::group::GroupBuffer;

    fn opened(trimmed_below: u64, seqs: &[u64], last: u64) -> Opened {
        let group = |seq: &u64| Group {
            seq: Seq(*seq),
            id: GroupId(0),
            epoch: Epoch(1),
            bytes: Bytes::from_static(&[0x08, 0x02]),
        };
        Opened {
            head: Head {
                epoch: Epoch(2),
                last: Seq(last),
                trimmed_below: Seq(trimmed_below),
                watermark: Timestamp::EPOCH,
            },
            tail: seqs.iter().map(group).collect(),
        }
    }

    #[test]
    fn a_hole_anywhere_in_the_tail_is_refused() {
        let log = LogId("test".to_owned());
        let read = |opened| read_tail(&log, &opened, |_| true).map(|tail| tail.len());
        assert_eq!(read(opened(1, &[], 0)).ok(), Some(0));
        assert_eq!(read(opened(3, &[3, 4, 5], 5)).ok(), Some(3));
        assert_eq!(read(opened(6, &[], 5)).ok(), Some(0));
        for holed in [opened(3, &[4, 5], 5), opened(3, &[3, 5], 5), opened(3, &[3, 4], 5), opened(3, &[], 5)] {
            assert!(matches!(read(holed), Err(StorageError::Corrupt(_))));
        }
    }

    #[test]
    fn an_unreadable_group_is_refused_with_its_position() {
        let mut opened = opened(1, &[1], 1);
        opened.tail[0].bytes = Bytes::from_static(b"\xff\xff");
        let error = read_tail(&LogId("test".to_owned()), &opened, |_| true).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains("log test: position 1: undecodable group")));
    }

    #[test]
    fn a_group_about_an_entity_of_a_kind_that_is_not_served_here_is_refused_with_its_position() {
        let mut group = GroupBuffer::default();
        let key = EntityKey { kind: KindId::of_test(7), namespace: "n".into(), id: "a".into() };
        group.push(&key, &[], "");
        let mut opened = opened(1, &[1], 1);
        opened.tail[0].bytes = group.finish();
        let log = LogId("test".to_owned());
        assert_eq!(read_tail(&log, &opened, |kind| kind == key.kind).unwrap()[0].entries.len(), 1);
        let error = read_tail(&log, &opened, |_| false).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains("log test: position 1: an entity of kind 207")));
    }
}
