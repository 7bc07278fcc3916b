//! Which requests a workflow ID has carried out, so that a caller's retry is recognised.
//!
//! Cheap to copy, as the state is copied at every step: the requests lie in chunks, and only the newest ever changes.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Requests in a chunk. Small, since adding a request copies one.
const CHUNK: usize = 64;

/// Seen requests, each with the run that it went to. Bounded; the oldest go first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenRequests {
    /// The oldest first; all but the last are full.
    chunks: Vec<Arc<Chunk>>,
}

/// Some requests, as a row stores them.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Chunk {
    /// By kind and id: the run.
    #[prost(btree_map = "string, string", tag = "1")]
    runs: BTreeMap<String, String>,
}

impl SeenRequests {
    /// The run that a request of this kind and id went to.
    pub fn get(&self, kind: &str, request_id: &str) -> Option<&str> {
        if request_id.is_empty() {
            return None;
        }
        let key = request_key(kind, request_id);
        self.chunks.iter().rev().find_map(|chunk| chunk.runs.get(&key)).map(String::as_str)
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        full + self.chunks.last().map_or(0, |chunk| chunk.runs.len())
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Adds one, and forgets the oldest chunk when there are more than `keep`.
    pub(crate) fn remember(&mut self, key: &str, run_id: &str, keep: usize) {
        if self.chunks.last().is_none_or(|chunk| chunk.runs.len() >= CHUNK) {
            self.chunks.push(Arc::default());
        }
        if let Some(newest) = self.chunks.last_mut() {
            Arc::make_mut(newest).runs.insert(key.to_owned(), run_id.to_owned());
        }
        if self.len() > keep.max(CHUNK) {
            self.chunks.remove(0);
        }
    }

    /// For a row.
    pub(crate) fn to_chunks(&self) -> Vec<Chunk> {
        self.chunks.iter().map(|chunk| (**chunk).clone()).collect()
    }

    /// From a row.
    pub(crate) fn from_chunks(chunks: Vec<Chunk>) -> Self {
        Self { chunks: chunks.into_iter().map(Arc::new).collect() }
    }
}

/// How a request is remembered.
pub(crate) fn request_key(kind: &str, request_id: &str) -> String {
    format!("{kind}/{request_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_requests_are_remembered_and_the_oldest_forgotten() {
        let mut seen = SeenRequests::default();
        for number in 0..1000 {
            seen.remember(&request_key("signal", &number.to_string()), "run", 200);
            assert!(seen.len() <= 200, "{}", seen.len());
        }
        assert_eq!(seen.get("signal", "999"), Some("run"));
        assert_eq!(seen.get("signal", "860"), Some("run"), "at least keep less a chunk");
        assert_eq!(seen.get("signal", "700"), None);
        assert_eq!(seen.get("start", "999"), None);
        assert_eq!(SeenRequests::from_chunks(seen.to_chunks()), seen);
    }

    #[test]
    fn adding_a_request_copies_the_newest_chunk_only() {
        let mut seen = SeenRequests::default();
        for number in 0..CHUNK * 3 + 1 {
            seen.remember(&number.to_string(), "run", 10_000);
        }
        let before = seen.clone();
        seen.remember("one more", "run", 10_000);
        let shared = seen.chunks.iter().zip(&before.chunks).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!((seen.chunks.len(), shared), (4, 3));
    }
}
