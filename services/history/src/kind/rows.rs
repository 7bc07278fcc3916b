//! Where a workflow ID's rows lie, and what is in them.
//!
//! The chain has a partition of its own with one row. Each run has a partition: one row with its state, and one row per
//! transition (more for a very large one) with that transition's events, keyed by the first event's id. Names in keys are separated by a zero byte,
//! which no id that we generate contains; the user's workflow ID comes last.

use bytes::{BufMut, Bytes, BytesMut};
use entities::{Corrupt, EntityKey, RowAddress};
use execution::{Batch, Chain, ChainRow, Run, RunRow};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use storage::{PartitionKey, RowKey, ScanRange};

use super::WorkflowKind;

/// The form of the chain's row; what it contains and a run's row have format numbers of their own.
const FORMAT: u32 = 2;

/// What a history row takes, unless a single event is larger. Far below what any store takes, as readers hold whole rows.
const HISTORY_ROW_BYTES: usize = 1 << 20;

/// What the names of the partitions of chains begin with.
pub(crate) const CHAINS: &[u8] = b"chain/";
/// What the names of the partitions of runs begin with.
pub(crate) const RUNS: &[u8] = b"run/";

/// How long the key of a history row is.
const HISTORY_KEY_BYTES: usize = 9;

/// The row of a chain.
#[derive(Clone, PartialEq, Message)]
struct StoredChain {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(message, optional, tag = "2")]
    chain: Option<ChainRow>,
}

/// The chain's partition.
pub(crate) fn chain_partition(key: &EntityKey) -> PartitionKey {
    name(CHAINS, &[key.namespace.as_str(), &key.id])
}

/// A run's partition.
pub(crate) fn run_partition(key: &EntityKey, run_id: &str) -> PartitionKey {
    name(RUNS, &[key.namespace.as_str(), run_id, &key.id])
}

fn name(prefix: &[u8], parts: &[&str]) -> PartitionKey {
    let length = prefix.len() + parts.iter().map(|part| part.len() + 1).sum::<usize>();
    let mut bytes = BytesMut::with_capacity(length);
    bytes.put_slice(prefix);
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            bytes.put_u8(0);
        }
        bytes.put_slice(part.as_bytes());
    }
    bytes.freeze()
}

/// The key of the one row of a chain, and of a run's state.
pub(crate) fn state_key() -> RowKey {
    Bytes::from_static(b"s")
}

/// The key of the history row that begins with this event.
pub(crate) fn history_key(first_event_id: i64) -> RowKey {
    let mut bytes = BytesMut::with_capacity(HISTORY_KEY_BYTES);
    bytes.put_u8(b'h');
    bytes.put_i64(first_event_id);
    bytes.freeze()
}

/// The history rows of a transition's events: one, unless they are so large together that a row might be too large for the
/// store. A row has whole events, byte for byte as the log had them.
pub(crate) fn history_rows(batch: &Batch) -> Vec<(RowKey, Bytes)> {
    if batch.bytes.len() <= HISTORY_ROW_BYTES {
        return vec![(history_key(batch.first_event_id), batch.bytes.clone())];
    }
    let mut rows = Vec::new();
    let (mut from, mut first_event_id) = (0, batch.first_event_id);
    let mut at = 0;
    for event_id in batch.first_event_id.. {
        // What cannot be taken apart stays in one piece.
        let Some(length) = first_field(&batch.bytes[at..]) else { break };
        if at > from && at + length - from > HISTORY_ROW_BYTES {
            rows.push((history_key(first_event_id), batch.bytes.slice(from..at)));
            (from, first_event_id) = (at, event_id);
        }
        at += length;
    }
    rows.push((history_key(first_event_id), batch.bytes.slice(from..)));
    rows
}

/// The bytes of the first event of an encoded history, with its tag and length; `None` at the end.
fn first_field(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let (_, wire_type) = decode_key(&mut rest).ok()?;
    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let whole = wire_type == WireType::LengthDelimited && length <= rest.len();
    whole.then(|| bytes.len() - rest.len() + length)
}

/// The rows that begin with an event from `first` on, and before `end`.
pub(crate) fn history_range(first: i64, end: i64) -> ScanRange {
    ScanRange { from: history_key(first), to: Some(history_key(end)) }
}

/// Where the chain's row is.
pub(crate) fn chain_address(key: &EntityKey) -> RowAddress {
    RowAddress { partition: chain_partition(key), key: state_key() }
}

/// Where a run's state is.
pub(crate) fn run_address(key: &EntityKey, run_id: &str) -> RowAddress {
    RowAddress { partition: run_partition(key, run_id), key: state_key() }
}

/// The chain's row.
pub(crate) fn encode_chain(chain: &Chain) -> Bytes {
    let stored = StoredChain { format: FORMAT, chain: Some(ChainRow::of(chain)) };
    stored.encode_to_vec().into()
}

/// A chain.
pub(crate) fn decode_chain(bytes: &Bytes) -> Result<Chain, Corrupt> {
    let stored = StoredChain::decode(bytes.clone()).map_err(|error| Corrupt(format!("chain row: {error}")))?;
    if stored.format != FORMAT {
        return Err(Corrupt(format!("chain row has format {}, this release reads {FORMAT}", stored.format)));
    }
    let row = stored.chain.ok_or_else(|| Corrupt("chain row is empty".to_owned()))?;
    row.into_chain().map_err(|error| Corrupt(format!("chain row: {error}")))
}

/// A run's row.
pub(crate) fn encode_run(run: &Run) -> Bytes {
    RunRow::of(run).encode_to_vec().into()
}

/// A run without its history.
pub(crate) fn decode_run(bytes: &Bytes) -> Result<Run, Corrupt> {
    let row = RunRow::decode(bytes.clone()).map_err(|error| Corrupt(format!("run row: {error}")))?;
    row.into_run().map_err(|error| Corrupt(format!("run row: {error}")))
}

/// Holds a row against what it is by its address; `None` for one that is not history's.
pub fn check_row(partition: &[u8], key: &[u8], value: &Bytes) -> Option<Result<(), Corrupt>> {
    let is_run = partition.starts_with(RUNS);
    if !is_run && !partition.starts_with(CHAINS) {
        return None;
    }
    Some(match key {
        b"s" if is_run => decode_run(value).map(drop),
        b"s" => decode_chain(value).map(drop),
        [b'h', ..] if is_run && key.len() == HISTORY_KEY_BYTES => super::decode_history(value.clone()).map(drop),
        _ => Err(Corrupt("no row of a workflow has such a key".to_owned())),
    })
}

/// The row without which a run is not found, by the run's partition; `None` for any other partition.
pub fn chain_of_run(partition: &[u8]) -> Option<RowAddress> {
    let name = std::str::from_utf8(partition.strip_prefix(RUNS)?).ok()?;
    let mut parts = name.splitn(3, '\0');
    let (namespace, _, id) = (parts.next()?, parts.next()?, parts.next()?);
    Some(chain_address(&EntityKey::of::<WorkflowKind>(namespace, id)))
}

#[cfg(test)]
mod tests {
    use api::temporal::api::common::v1::Payload;
    use api::temporal::api::history::v1::{History, HistoryEvent};
    use api::temporal::api::sdk::v1::UserMetadata;

    use super::*;

    #[test]
    fn no_two_runs_share_a_partition() {
        let key = |id: &str| EntityKey::of::<WorkflowKind>("n", id);
        assert_ne!(run_partition(&key("b\0c"), "a"), run_partition(&key("c"), "a\0b\0"));
        assert_ne!(chain_partition(&key("a")), chain_partition(&key("b")));
    }

    #[test]
    fn rows_are_known_by_their_address_and_a_run_by_its_chain() {
        let key = EntityKey::of::<WorkflowKind>("n", "b\0c");
        let (chain, run) = (chain_partition(&key), run_partition(&key, "r"));
        let row = encode_chain(&Chain::default());
        let is_sound = |partition: &[u8], key: &[u8], value: &Bytes| check_row(partition, key, value).unwrap().is_ok();
        assert!(is_sound(&chain, b"s", &row));
        assert!(is_sound(&run, &history_key(1), &Bytes::new()));
        let damaged = Bytes::from_static(b"\xff\xff");
        for (partition, key) in [(&chain, state_key()), (&run, state_key()), (&run, history_key(1))] {
            assert!(!is_sound(partition, &key, &damaged), "{key:?}");
        }
        for key in [&b"t"[..], b"h", b""] {
            assert!(!is_sound(&run, key, &Bytes::new()), "{key:?}");
        }
        assert!(!is_sound(&chain, &history_key(1), &Bytes::new()));
        assert!(check_row(b"task-queue/n", b"h", &row).is_none());
        assert_eq!(chain_of_run(&run), Some(chain_address(&key)));
        assert_eq!(chain_of_run(&chain), None);
    }

    #[test]
    fn a_chains_partition_names_its_entity() {
        use entities::Kind;
        let kind = crate::WorkflowKind::new(execution::Limits::default());
        for id in ["a", "b\0c", "größe"] {
            let key = EntityKey::of::<WorkflowKind>("n", id);
            assert_eq!(kind.entity_of(&chain_partition(&key)), Some(key));
        }
        assert_eq!(kind.entity_of(&run_partition(&EntityKey::of::<WorkflowKind>("n", "a"), "r")), None);
    }

    #[test]
    fn a_large_transition_takes_several_rows_of_whole_events() {
        let event = |event_id, size: usize| HistoryEvent {
            event_id,
            user_metadata: Some(UserMetadata {
                summary: Some(Payload { data: vec![7; size].into(), ..Payload::default() }),
                ..UserMetadata::default()
            }),
            ..HistoryEvent::default()
        };
        for (sizes, wanted) in [
            (&[10, 10][..], vec![5]),
            (&[600_000, 600_000, 10], vec![5, 6]),
            (&[3 << 20, 10, 10], vec![5, 6]),
            (&[10, 3 << 20, 10], vec![5, 6, 7]),
            (&[400_000; 7], vec![5, 7, 9, 11]),
        ] {
            let events: Vec<_> = sizes.iter().enumerate().map(|(index, size)| event(5 + index as i64, *size)).collect();
            let batch = Batch::new(events.clone());
            let rows = history_rows(&batch);
            let keys: Vec<_> = rows.iter().map(|(key, _)| key.clone()).collect();
            assert_eq!(keys, wanted.iter().map(|first| history_key(*first)).collect::<Vec<_>>());
            let mut stored = Vec::new();
            for (key, bytes) in rows {
                let events = History::decode(bytes).unwrap().events;
                assert_eq!(key, history_key(events[0].event_id));
                stored.extend(events);
            }
            assert_eq!(stored, events);
        }
    }

    #[test]
    fn history_rows_sort_by_event_and_apart_from_the_state() {
        assert!(history_key(255) < history_key(256));
        assert!(state_key() > history_key(i64::MAX));
    }
}
