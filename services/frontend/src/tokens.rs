//! Sealed tokens: what a client holds for us and cannot change, nor carry into another namespace.
//!
//! A sealed token is `version, key id (4 bytes), tag (16 bytes), content`. The tag is the left half of an HMAC-SHA256
//! over version, key id, the token's kind and the content, so that a token of one kind never passes for another. The
//! content names its namespace, which must be the request's. Keys live in the registry: tokens survive restarts.

mod keys;

pub(crate) use keys::Keys;

use bytes::{BufMut, Bytes, BytesMut};
use calls::token::{ActivityTaskToken, HistoryPageToken, QueryTaskToken, WorkflowTaskToken};
use calls::{Namespace, ServiceError, ServiceResult};
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use sha2::Sha256;

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + 4 + TAG_BYTES;

/// A key, ready to sign.
pub(crate) type Key = Hmac<Sha256>;

/// What a token is for. The numbers are part of what is signed: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A workflow task that was handed out.
    WorkflowTask = 1,
    /// An activity task that was handed out.
    ActivityTask = 2,
    /// A query task that was handed out.
    QueryTask = 3,
    /// The next page of a history.
    HistoryPage = 4,
    /// The next page of a history read backwards.
    ReverseHistoryPage = 5,
    /// The next page of namespaces.
    NamespacePage = 6,
}

impl Kind {
    fn field(self) -> &'static str {
        match self {
            Self::WorkflowTask | Self::ActivityTask | Self::QueryTask => "task_token",
            Self::HistoryPage | Self::ReverseHistoryPage | Self::NamespacePage => "next_page_token",
        }
    }
}

/// Seals `content`. Nothing in, nothing out: an empty token says "no more" or "no task".
pub(crate) fn seal(keys: &Keys, kind: Kind, content: &[u8]) -> Bytes {
    if content.is_empty() {
        return Bytes::new();
    }
    let (id, key) = keys.current();
    let tag = sign(key, kind, id, content).finalize().into_bytes();
    let mut token = BytesMut::with_capacity(HEAD_BYTES + content.len());
    token.put_u8(VERSION);
    token.put_u32(id);
    token.put_slice(&tag[..TAG_BYTES]);
    token.put_slice(content);
    token.freeze()
}

/// The content of `token`, if one of `keys` sealed it as this kind.
pub(crate) fn open(keys: &Keys, kind: Kind, token: &Bytes) -> ServiceResult<Bytes> {
    let field = kind.field();
    if token.is_empty() {
        return Err(ServiceError::InvalidArgument(format!("{field} is not set")));
    }
    let malformed = || ServiceError::InvalidArgument(format!("{field} is malformed: {} bytes", token.len()));
    if token.len() <= HEAD_BYTES || token[0] != VERSION {
        return Err(malformed());
    }
    let id = u32::from_be_bytes(token[1..5].try_into().map_err(|_| malformed())?);
    let content = token.slice(HEAD_BYTES..);
    let authentic = keys.get(id).is_some_and(|key| {
        // Compares in constant time.
        sign(key, kind, id, &content).verify_truncated_left(&token[5..HEAD_BYTES]).is_ok()
    });
    if !authentic {
        return Err(ServiceError::InvalidArgument(format!("{field} is not one that this cluster has given out")));
    }
    Ok(content)
}

/// Whether a key that these `keys` lack sealed `token`: then reading the registry again may help.
pub(crate) fn has_unknown_key(keys: &Keys, token: &[u8]) -> bool {
    token.len() > HEAD_BYTES
        && token[0] == VERSION
        && keys.get(u32::from_be_bytes([token[1], token[2], token[3], token[4]])).is_none()
}

fn sign(key: &Key, kind: Kind, id: u32, content: &[u8]) -> Key {
    let mut mac = key.clone();
    mac.update(&[VERSION, kind as u8]);
    mac.update(&id.to_be_bytes());
    mac.update(content);
    mac
}

/// A key from its secret bytes.
pub(crate) fn key(secret: &[u8]) -> Option<Key> {
    Key::new_from_slice(secret).ok()
}

/// What every token says about its origin.
pub(crate) trait Content: Message + Default {
    /// The namespace that it was given out in.
    fn namespace_id(&self) -> &str;
}

macro_rules! content {
    ($($token:ident),*) => {$(
        impl Content for $token {
            fn namespace_id(&self) -> &str {
                &self.namespace_id
            }
        }
    )*};
}

content!(WorkflowTaskToken, ActivityTaskToken, HistoryPageToken, QueryTaskToken);

/// Reads opened content. It is ours and authentic, so that failing is a version we do not know, or a bug.
pub(crate) fn read<T: Content>(kind: Kind, content: &Bytes) -> ServiceResult<T> {
    T::decode(content.clone()).map_err(|error| {
        ServiceError::InvalidArgument(format!("{} cannot be read by this server: {error}", kind.field()))
    })
}

/// Refuses a token of another namespace than the request's.
pub(crate) fn check_namespace(kind: Kind, token: &impl Content, namespace: &Namespace) -> ServiceResult<()> {
    if token.namespace_id() == namespace.id.as_str() {
        return Ok(());
    }
    Err(ServiceError::InvalidArgument(format!(
        "{} belongs to another namespace than {:?}",
        kind.field(),
        namespace.name
    )))
}

#[cfg(test)]
#[path = "tokens_test.rs"]
mod tests;
