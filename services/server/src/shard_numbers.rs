//! How many shards a store has. Where a workflow lives follows from the number, so it is written at the first start and a
//! different one is refused.

use bytes::Bytes;
use storage::{CompareAndSet, Registry, StorageError};

/// More would not help one machine, and the number cannot be lowered later. Each costs memory and a fence at start.
const MOST_SHARDS: u32 = 4096;

/// Why a number of shards cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShardNumberError {
    /// The store was first started with another.
    #[error("this store has {stored} {role} shards, {wanted} were asked for: the number cannot be changed")]
    Different {
        /// Whose shards.
        role: &'static str,
        /// What the store has.
        stored: u32,
        /// What was asked for.
        wanted: u32,
    },
    /// There must be at least one.
    #[error("the number of {role} shards is 0, at least 1 is needed")]
    None {
        /// Whose shards.
        role: &'static str,
    },
    /// There may not be this many.
    #[error("the number of {role} shards is {wanted}, at most {MOST_SHARDS} is allowed")]
    TooMany {
        /// Whose shards.
        role: &'static str,
        /// What was asked for.
        wanted: u32,
    },
    /// The stored number is invalid.
    #[error("the stored number of {role} shards cannot be read: {text:?}")]
    Unreadable {
        /// Whose shards.
        role: &'static str,
        /// What is stored.
        text: String,
    },
    /// The registry.
    #[error("cannot look up the number of shards: {0}")]
    Storage(#[from] StorageError),
}

/// Makes sure that the store has `wanted` shards of a role, writing the number at the first start. After
/// [`StorageError::Unknown`] it may be called again.
pub(crate) async fn check(registry: &dyn Registry, role: &'static str, wanted: u32) -> Result<(), ShardNumberError> {
    if wanted == 0 {
        return Err(ShardNumberError::None { role });
    }
    if wanted > MOST_SHARDS {
        return Err(ShardNumberError::TooMany { role, wanted });
    }
    let key = format!("cluster/{role}-shards");
    loop {
        if let Some(entry) = registry.get(&key).await? {
            let text = String::from_utf8_lossy(&entry.value).into_owned();
            return match text.parse() {
                Ok(stored) if stored == wanted => Ok(()),
                Ok(stored) => Err(ShardNumberError::Different { role, stored, wanted }),
                Err(_) => Err(ShardNumberError::Unreadable { role, text }),
            };
        }
        match registry.compare_and_set(&key, 0, Some(Bytes::from(wanted.to_string()))).await {
            CompareAndSet::Applied => return Ok(()),
            // Another process was quicker: read again.
            CompareAndSet::Conflict => {}
            CompareAndSet::Unknown => {
                return Err(StorageError::Unknown(format!("whether {key} is written")).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use storage::memory::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn the_first_number_stays() {
        let store = MemoryStore::new().store();
        let registry = store.registry.as_ref();
        assert!(check(registry, "history", 4).await.is_ok());
        assert!(check(registry, "history", 4).await.is_ok());
        assert!(check(registry, "matching", 1).await.is_ok());
        let refused = check(registry, "history", 8).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "this store has 4 history shards, 8 were asked for: the number cannot be changed"
        );
        assert!(check(registry, "history", 0).await.is_err());
    }

    #[tokio::test]
    async fn an_absurd_number_is_refused_and_not_stored() {
        let store = MemoryStore::new().store();
        let registry = store.registry.as_ref();
        let refused = check(registry, "history", u32::MAX).await.unwrap_err();
        assert_eq!(refused.to_string(), "the number of history shards is 4294967295, at most 4096 is allowed");
        assert!(check(registry, "history", 4).await.is_ok());
    }
}
