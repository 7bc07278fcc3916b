//! The keys under which logs, partitions and registry entries lie in the database.

use bytes::Bytes;
use storage::LogId;

/// What comes before every name of this store, so that no key is empty, which Cassandra does not allow.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn within(name: &str) -> Self {
        Self { prefix: format!("{name}/") }
    }

    pub(crate) fn log(&self, log: &LogId) -> String {
        format!("{}{}", self.prefix, log.0)
    }

    pub(crate) fn partition(&self, partition: &Bytes) -> Vec<u8> {
        [self.prefix.as_bytes(), partition].concat()
    }

    /// The partition of this store that has this key; `None` for one of another store.
    pub(crate) fn partition_of<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(self.prefix.as_bytes())
    }

    /// The partition of all registry entries.
    pub(crate) fn registry(&self) -> &str {
        &self.prefix
    }
}
