//! The texts of prepared statements, by id. An id is a digest of the statement, the same on every node.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

/// What every connection has learned.
#[derive(Default)]
pub struct Prepared {
    texts: HashMap<Bytes, Arc<str>>,
}

impl Prepared {
    /// Remembers a statement.
    pub fn learn(&mut self, id: Bytes, text: Arc<str>) {
        self.texts.insert(id, text);
    }

    /// The statement with this id, if it came by.
    pub fn text(&self, id: &[u8]) -> Option<Arc<str>> {
        self.texts.get(id).cloned()
    }
}
