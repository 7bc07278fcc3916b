//! Which requests a workflow ID has carried out, so that a caller's retry is recognised.
//!
//! Cheap to copy, as the state is copied at every step: the requests lie in chunks, and only the newest ever changes.

use std::collections::BTreeMap;
use std::mem::size_of;
use std::sync::Arc;

use api::map_bytes;

/// Requests in a chunk. Small, since adding a request copies one.
const CHUNK: usize = 64;

/// What all of them may take in the row of a chain, which has little else. Ten thousand ids of usual length take an eighth.
const ROW_BYTES_MAX: usize = 8 << 20;
/// What the row needs for a request beside its id and the run's: tags and lengths. More than it ever is.
const FRAME_BYTES: usize = 16;

/// Seen requests, each with the run that it went to. Bounded in number and bytes; the oldest go first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenRequests {
    /// The oldest first; all but the last are full.
    chunks: Vec<Arc<Chunk>>,
    /// Bytes of all of them in the row.
    bytes: usize,
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
    pub fn get(&self, kind: RequestKind, request_id: &str) -> Option<&str> {
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

    /// Bytes of all of them in the chain's row: never less than they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of all of them on the heap.
    pub fn held_bytes(&self) -> usize {
        let texts = self.bytes - self.len() * FRAME_BYTES;
        let last = self.chunks.last().map_or(0, |chunk| chunk.runs.len());
        let full = self.chunks.len().saturating_sub(1) * map_bytes::<String, String>(CHUNK);
        // A chunk in its shared place, which the list names.
        let frame = size_of::<Chunk>() + 3 * size_of::<usize>();
        texts + full + map_bytes::<String, String>(last) + self.chunks.len() * frame
    }

    /// Adds one, and forgets the oldest chunk when there are more than `keep`, or more than a row can take.
    pub(crate) fn remember(&mut self, key: &str, run_id: &str, keep: usize) {
        if self.chunks.last().is_none_or(|chunk| chunk.runs.len() >= CHUNK) {
            self.chunks.push(Arc::default());
        }
        if let Some(newest) = self.chunks.last_mut() {
            let newest = Arc::make_mut(newest);
            self.bytes += row_bytes(key, run_id);
            if let Some(former) = newest.runs.insert(key.to_owned(), run_id.to_owned()) {
                self.bytes -= row_bytes(key, &former);
            }
        }
        while self.chunks.len() > 1 && (self.len() > keep.max(CHUNK) || self.bytes > ROW_BYTES_MAX) {
            self.bytes -= self.chunks.remove(0).row_bytes();
        }
    }

    /// Forgets what callers have asked: their ids hold for one chain. What other workflows ask has ids that never come
    /// again, and may be asked again for as long as they have not heard the answer.
    pub(crate) fn begin_chain(&mut self) {
        let mut kept = Self::default();
        for chunk in &self.chunks {
            for (key, run_id) in chunk.runs.iter().filter(|(key, _)| is_of_workflow(key)) {
                kept.remember(key, run_id, usize::MAX);
            }
        }
        *self = kept;
    }

    /// For a row.
    pub(crate) fn to_chunks(&self) -> Vec<Chunk> {
        self.chunks.iter().map(|chunk| (**chunk).clone()).collect()
    }

    /// From a row.
    pub(crate) fn from_chunks(chunks: Vec<Chunk>) -> Self {
        let bytes = chunks.iter().map(Chunk::row_bytes).sum();
        Self { chunks: chunks.into_iter().map(Arc::new).collect(), bytes }
    }
}

impl Chunk {
    fn row_bytes(&self) -> usize {
        self.runs.iter().map(|(key, run_id)| row_bytes(key, run_id)).sum()
    }
}

fn row_bytes(key: &str, run_id: &str) -> usize {
    key.len() + run_id.len() + FRAME_BYTES
}

/// What is remembered of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A caller starts a workflow, or attaches the request to it.
    Start,
    /// A caller signals it.
    Signal,
    /// Its parent starts it.
    Child,
    /// Another workflow signals it.
    Sent,
}

impl RequestKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Start => "start/",
            Self::Signal => "signal/",
            Self::Child => "child/",
            Self::Sent => "sent/",
        }
    }
}

fn is_of_workflow(key: &str) -> bool {
    [RequestKind::Child, RequestKind::Sent].iter().any(|kind| key.starts_with(kind.prefix()))
}

/// How a request is remembered.
pub(crate) fn request_key(kind: RequestKind, request_id: &str) -> String {
    format!("{}{request_id}", kind.prefix())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn the_newest_requests_are_remembered_and_the_oldest_forgotten() {
        let mut seen = SeenRequests::default();
        for number in 0..1000 {
            seen.remember(&request_key(RequestKind::Signal, &number.to_string()), "run", 200);
            assert!(seen.len() <= 200, "{}", seen.len());
        }
        assert_eq!(seen.get(RequestKind::Signal, "999"), Some("run"));
        assert_eq!(seen.get(RequestKind::Signal, "860"), Some("run"), "at least keep less a chunk");
        assert_eq!(seen.get(RequestKind::Signal, "700"), None);
        assert_eq!(seen.get(RequestKind::Start, "999"), None);
        assert_eq!(SeenRequests::from_chunks(seen.to_chunks()), seen);
    }

    #[test]
    fn with_a_new_chain_the_requests_of_callers_are_forgotten_and_those_of_workflows_kept() {
        let mut seen = SeenRequests::default();
        for number in 0..CHUNK {
            for kind in [RequestKind::Start, RequestKind::Signal, RequestKind::Child, RequestKind::Sent] {
                seen.remember(&request_key(kind, &number.to_string()), "run", 10_000);
            }
        }
        seen.begin_chain();
        assert_eq!(seen.len(), 2 * CHUNK);
        for number in 0..CHUNK {
            let found = |kind| seen.get(kind, &number.to_string()).is_some();
            assert!(found(RequestKind::Child) && found(RequestKind::Sent), "{number}");
            assert!(!found(RequestKind::Start) && !found(RequestKind::Signal), "{number}");
        }
        assert_eq!(SeenRequests::from_chunks(seen.to_chunks()), seen);
    }

    #[test]
    fn long_ids_are_forgotten_before_the_row_is_too_large() {
        let mut seen = SeenRequests::default();
        let id = |number: usize| format!("{number:0>20000}");
        for number in 0..500 {
            seen.remember(&request_key(RequestKind::Start, &id(number)), "run", 10_000);
            let row: usize = seen.to_chunks().iter().map(|chunk| chunk.encoded_len() + 8).sum();
            assert!(row <= seen.bytes() + 8 * 8 && seen.bytes() <= ROW_BYTES_MAX, "{row}, {}", seen.bytes());
            assert_eq!(seen.get(RequestKind::Start, &id(number)), Some("run"));
        }
        assert_eq!(seen.get(RequestKind::Start, &id(0)), None);
        assert_eq!(seen.get(RequestKind::Start, &id(200)), Some("run"));
        seen.remember(&request_key(RequestKind::Start, &id(499)), "another run", 10_000);
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
