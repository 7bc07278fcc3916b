//! Entities in keys of rows: a format number, and what else the row is about before the entity or after it.

use bytes::{Buf, BufMut, BytesMut};
use ids::KindId;

use crate::EntityKey;

/// The format that this release writes and reads: the first byte of each such key.
pub(crate) const FORMAT: u8 = 1;

/// How many bytes [`put_entity`] adds.
pub(crate) fn entity_len(key: &EntityKey) -> usize {
    1 + 4 + key.namespace.as_str().len() + 4 + key.id.len()
}

/// Adds an entity's kind, namespace and id.
pub(crate) fn put_entity(bytes: &mut BytesMut, key: &EntityKey) {
    bytes.put_u8(key.kind.number());
    for name in [key.namespace.as_str(), &key.id] {
        bytes.put_u32(name.len() as u32);
        bytes.put_slice(name.as_bytes());
    }
}

/// Takes an entity off the front.
pub(crate) fn take_entity(bytes: &mut &[u8]) -> Option<EntityKey> {
    let kind = KindId::of_number(bytes.try_get_u8().ok()?);
    let namespace = take_name(bytes)?.into();
    let id = take_name(bytes)?.into();
    Some(EntityKey { kind, namespace, id })
}

fn take_name<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = bytes.try_get_u32().ok()? as usize;
    let (name, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(name).ok()
}
