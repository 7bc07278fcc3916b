//! A group as the log holds it: which entities changed, and how. Protobuf with a format number.
//!
//! Groups are written entry by entry while they form, so that closing one copies nothing; [`GroupRecord`] says what
//! comes out, and reads it.

use bytes::{BufMut, Bytes, BytesMut};
use ids::KindId;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::EntityKey;

/// The format that this release writes and reads.
const FORMAT: u32 = 2;

const TAG_FORMAT: u32 = 1;
const TAG_ENTRIES: u32 = 2;
const TAG_NAMESPACE: u32 = 1;
const TAG_ID: u32 = 2;
const TAG_CHANGES: u32 = 3;
const TAG_QUARANTINED: u32 = 4;
const TAG_KIND: u32 = 5;

/// What one append carries.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GroupRecord {
    /// The format number.
    #[prost(uint32, tag = "1")]
    pub(crate) format: u32,
    /// The transitions, in the order in which they were decided.
    #[prost(message, repeated, tag = "2")]
    pub(crate) entries: Vec<EntryRecord>,
}

/// The changes of one transition; or that an entity is quarantined.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EntryRecord {
    /// The entity's namespace id.
    #[prost(string, tag = "1")]
    pub(crate) namespace: String,
    /// The entity's id.
    #[prost(string, tag = "2")]
    pub(crate) id: String,
    /// The changes as the kind encodes them, in order.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub(crate) changes: Vec<Bytes>,
    /// Why the entity cannot be served from here on; empty for a transition.
    #[prost(string, tag = "4")]
    pub(crate) quarantined: String,
    /// The number of the entity's kind.
    #[prost(uint32, tag = "5")]
    pub(crate) kind: u32,
}

impl EntryRecord {
    /// The entity that the entry is about; `None` if no kind has such a number.
    pub(crate) fn key(&self) -> Option<EntityKey> {
        let kind = KindId::of_number(u8::try_from(self.kind).ok()?);
        Some(EntityKey { kind, namespace: self.namespace.as_str().into(), id: self.id.as_str().into() })
    }
}

/// Reads a group. The error says what is wrong with the bytes.
pub(crate) fn decode_group(bytes: Bytes) -> Result<GroupRecord, String> {
    let record = GroupRecord::decode(bytes).map_err(|error| format!("undecodable group: {error}"))?;
    if record.format == FORMAT {
        Ok(record)
    } else {
        Err(format!("group of format {}, this release reads format {FORMAT}", record.format))
    }
}

/// The bytes of a group while it is open.
#[derive(Default)]
pub(crate) struct GroupBuffer(BytesMut);

impl GroupBuffer {
    /// Bytes so far; 0 when nothing was added.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes it a group that is worth appending though it may stay without entries.
    pub(crate) fn begin(&mut self) {
        if self.0.is_empty() {
            encode_key(TAG_FORMAT, WireType::Varint, &mut self.0);
            encode_varint(u64::from(FORMAT), &mut self.0);
        }
    }

    /// How many bytes [`GroupBuffer::push`] would add for this entry, beyond the group's beginning.
    pub(crate) fn cost(key: &EntityKey, changes: &[Bytes], quarantined: &str) -> usize {
        let body = entry_len(key, changes, quarantined);
        key_len(TAG_ENTRIES) + encoded_len_varint(body as u64) + body
    }

    /// Adds a transition, or, with a reason that is not empty, that the entity is quarantined.
    pub(crate) fn push(&mut self, key: &EntityKey, changes: &[Bytes], quarantined: &str) {
        self.begin();
        self.0.reserve(Self::cost(key, changes, quarantined));
        encode_key(TAG_ENTRIES, WireType::LengthDelimited, &mut self.0);
        encode_varint(entry_len(key, changes, quarantined) as u64, &mut self.0);
        push_field(TAG_NAMESPACE, key.namespace.as_str().as_bytes(), &mut self.0);
        push_field(TAG_ID, key.id.as_bytes(), &mut self.0);
        for change in changes {
            // An element of a repeated field is written even when it is empty.
            push_element(TAG_CHANGES, change, &mut self.0);
        }
        push_field(TAG_QUARANTINED, quarantined.as_bytes(), &mut self.0);
        encode_key(TAG_KIND, WireType::Varint, &mut self.0);
        encode_varint(u64::from(key.kind.number()), &mut self.0);
    }

    /// The finished bytes.
    pub(crate) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

fn entry_len(key: &EntityKey, changes: &[Bytes], quarantined: &str) -> usize {
    let named = field_len(TAG_NAMESPACE, key.namespace.as_str().len()) + field_len(TAG_ID, key.id.len());
    let kind = key_len(TAG_KIND) + encoded_len_varint(u64::from(key.kind.number()));
    let rest = field_len(TAG_QUARANTINED, quarantined.len()) + kind;
    named + rest + changes.iter().map(|change| element_len(TAG_CHANGES, change.len())).sum::<usize>()
}

fn field_len(tag: u32, len: usize) -> usize {
    if len == 0 { 0 } else { element_len(tag, len) }
}

fn element_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

fn push_field(tag: u32, bytes: &[u8], buffer: &mut BytesMut) {
    if !bytes.is_empty() {
        push_element(tag, bytes, buffer);
    }
}

fn push_element(tag: u32, bytes: &[u8], buffer: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(bytes.len() as u64, buffer);
    buffer.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is written entry by entry is byte for byte the record, and reads back as it.
        #[test]
        fn a_group_reads_back_as_written(entries in prop::collection::vec(
            (1u32..256, ".{0,20}", ".{0,20}", prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4), ".{0,9}"), 1..6))
        {
            let mut buffer = GroupBuffer::default();
            let mut record = GroupRecord { format: FORMAT, entries: Vec::new() };
            for (kind, namespace, id, changes, quarantined) in entries {
                let changes: Vec<Bytes> = changes.into_iter().map(Bytes::from).collect();
                let entry = EntryRecord { namespace, id, changes, quarantined, kind };
                let key = entry.key().unwrap();
                let before = buffer.len();
                buffer.push(&key, &entry.changes, &entry.quarantined);
                let first = if before == 0 { 2 } else { 0 };
                let cost = GroupBuffer::cost(&key, &entry.changes, &entry.quarantined);
                prop_assert_eq!(buffer.len() - before - first, cost);
                record.entries.push(entry);
            }
            let bytes = buffer.finish();
            prop_assert_eq!(&bytes, &Bytes::from(record.encode_to_vec()));
            prop_assert_eq!(decode_group(bytes), Ok(record));
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_group(Bytes::from(bytes));
        }
    }

    #[test]
    fn a_group_without_entries_reads_back() {
        let mut buffer = GroupBuffer::default();
        buffer.begin();
        assert!(buffer.len() > 0);
        assert_eq!(decode_group(buffer.finish()), Ok(GroupRecord { format: FORMAT, entries: Vec::new() }));
    }

    #[test]
    fn a_group_of_another_format_is_refused() {
        for format in [FORMAT - 1, FORMAT + 1] {
            let record = GroupRecord { format, entries: Vec::new() };
            let refused = decode_group(Bytes::from(record.encode_to_vec())).unwrap_err();
            assert!(refused.contains(&format!("format {format}")));
        }
    }
}
