//! The keys that seal tokens: drawn once by the cluster, kept in its registry.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use calls::{ServiceError, ServiceResult};
use prost::Message;
use runtime::Runtime;
use sha2::{Digest, Sha256};
use storage::Registry;

use super::Key;
use crate::stored::{Written, unavailable, write_once};

const ROW: &str = "frontend/token-keys";
const FORMAT: u32 = 1;

/// The stored keys.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredKeys {
    #[prost(uint32, tag = "1")]
    format: u32,
    /// The key that seals; the others only open.
    #[prost(uint32, tag = "2")]
    current: u32,
    #[prost(message, repeated, tag = "3")]
    keys: Vec<StoredKey>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredKey {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(bytes = "bytes", tag = "2")]
    secret: Bytes,
}

/// The cluster's keys. There is always a current one.
#[derive(Clone)]
pub(crate) struct Keys {
    current: (u32, Key),
    all: BTreeMap<u32, Key>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys {{ current: {}, known: {:?} }}", self.current.0, self.all.keys().collect::<Vec<_>>())
    }
}

impl Keys {
    /// The keys of one secret, for checks that have no registry.
    pub(crate) fn of_secret(id: u32, secret: &[u8]) -> Option<Self> {
        let key = super::key(secret)?;
        Some(Self { current: (id, key.clone()), all: BTreeMap::from([(id, key)]) })
    }

    /// The stored keys, drawing the first one if there are none yet.
    pub(crate) async fn load_or_create(registry: &dyn Registry, runtime: &Runtime) -> ServiceResult<Self> {
        if let Some(keys) = Self::load(registry).await? {
            return Ok(keys);
        }
        let first = StoredKey { id: 1, secret: draw_secret(runtime) };
        let stored = StoredKeys { format: FORMAT, current: first.id, keys: vec![first] };
        let value = Bytes::from(stored.encode_to_vec());
        match write_once(registry, runtime, ROW, 0, value.clone()).await? {
            Written::Ours => Self::decode(value),
            Written::Theirs(Some(entry)) => Self::decode(entry.value),
            Written::Theirs(None) => {
                Err(ServiceError::Unavailable("token keys vanished while being created".to_owned()))
            }
        }
    }

    /// The stored keys.
    pub(crate) async fn load(registry: &dyn Registry) -> ServiceResult<Option<Self>> {
        let entry = registry.get(ROW).await.map_err(unavailable)?;
        entry.map(|entry| Self::decode(entry.value)).transpose()
    }

    fn decode(value: Bytes) -> ServiceResult<Self> {
        let corrupt = |what: &str| ServiceError::DataLoss(format!("registry row {ROW:?} {what}"));
        let stored = StoredKeys::decode(value).map_err(|_| corrupt("cannot be decoded"))?;
        if stored.format != FORMAT {
            return Err(corrupt(&format!("has format {}, this release reads {FORMAT}", stored.format)));
        }
        let mut all = BTreeMap::new();
        for StoredKey { id, secret } in stored.keys {
            all.insert(id, super::key(&secret).ok_or_else(|| corrupt("holds an invalid key"))?);
        }
        let current = all.get(&stored.current).cloned().ok_or_else(|| corrupt("lacks its current key"))?;
        Ok(Self { current: (stored.current, current), all })
    }

    /// The key that seals.
    pub(crate) fn current(&self) -> (u32, &Key) {
        (self.current.0, &self.current.1)
    }

    /// The key of this id.
    pub(crate) fn get(&self, id: u32) -> Option<&Key> {
        self.all.get(&id)
    }
}

/// 256 bits out of three draws of 122 random bits each.
fn draw_secret(runtime: &Runtime) -> Bytes {
    let mut hash = Sha256::new();
    for _ in 0..3 {
        hash.update(runtime.seed().to_be_bytes());
    }
    Bytes::copy_from_slice(&hash.finalize())
}
