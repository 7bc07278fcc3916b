//! Which requests a workflow ID has carried out, so that a caller's retry is recognised.
//!
//! Cheap to copy, as the state is copied at every step, and to search and add to, however many there are.

use std::sync::Arc;

use crate::shared_map::{Entry, SharedMap};

/// What all of them may take in the row of a chain, which has little else. Ten thousand ids of usual length take an eighth.
const ROW_BYTES_MAX: usize = 8 << 20;
/// What the row needs for a request beside its id and the run's: tags and lengths. More than it ever is.
const FRAME_BYTES: usize = 16;

/// Seen requests, each with the run that it went to. Bounded in number and bytes; the oldest go first.
#[derive(Clone, Debug, Default)]
pub struct SeenRequests {
    by_age: SharedMap<Arc<Aged>>,
    by_key: SharedMap<ByKey>,
}

/// A request, as a row stores it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SeenRequest {
    /// The request, prefixed by kind.
    #[prost(string, tag = "1")]
    key: String,
    /// The run that it went to.
    #[prost(string, tag = "2")]
    run_id: String,
}

/// A request, numbered in the order in which they came.
#[derive(Debug)]
struct Aged {
    number: u64,
    request: SeenRequest,
}

/// The same, by its key.
#[derive(Clone, Debug)]
struct ByKey(Arc<Aged>);

impl Entry for Arc<Aged> {
    type Key = u64;
    type Sum = usize;

    fn key(&self) -> &u64 {
        &self.number
    }

    /// Bytes in the row.
    fn sum(&self) -> usize {
        row_bytes(&self.request.key, &self.request.run_id)
    }

    fn is_same(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

impl Entry for ByKey {
    type Key = str;
    type Sum = ();

    fn key(&self) -> &str {
        &self.0.request.key
    }

    fn sum(&self) {}

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl SeenRequests {
    /// The run that a request of this kind and id went to.
    pub fn get(&self, kind: RequestKind, request_id: &str) -> Option<&str> {
        if request_id.is_empty() || self.is_empty() {
            return None;
        }
        self.by_key.get(&request_key(kind, request_id)).map(|seen| &*seen.0.request.run_id)
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &SeenRequest> {
        self.by_age.values().map(|seen| &seen.request)
    }

    /// Bytes of all of them in the chain's row: never less than they are.
    pub fn bytes(&self) -> usize {
        self.by_age.sum()
    }

    /// Bytes of all of them on the heap.
    pub fn held_bytes(&self) -> usize {
        let nodes = SharedMap::<Arc<Aged>>::NODE_BYTES + SharedMap::<ByKey>::NODE_BYTES;
        let each = nodes + 2 * size_of::<usize>() + size_of::<Aged>();
        self.bytes() + self.len() * each - self.len() * FRAME_BYTES
    }

    /// Adds one as the newest, and forgets the oldest when there are more than `keep`, or more than a row can take.
    pub(crate) fn remember(&mut self, key: &str, run_id: &str, keep: usize) {
        let number = self.by_age.last().map_or(0, |newest| newest.number + 1);
        let seen = Arc::new(Aged { number, request: SeenRequest { key: key.to_owned(), run_id: run_id.to_owned() } });
        if let Some(ByKey(former)) = self.by_key.insert(ByKey(Arc::clone(&seen))) {
            self.by_age.remove(&former.number);
        }
        self.by_age.insert(seen);
        while self.len() > keep.max(1) || (self.len() > 1 && self.bytes() > ROW_BYTES_MAX) {
            let Some(oldest) = self.by_age.first().cloned() else { return };
            self.by_age.remove(&oldest.number);
            self.by_key.remove(&oldest.request.key);
        }
    }

    /// Forgets what callers have asked: their ids hold for one chain. What other workflows ask has ids that never come
    /// again, and may be asked again for as long as they have not heard the answer.
    pub(crate) fn begin_chain(&mut self) {
        self.by_age.retain(|seen| is_of_workflow(&seen.request.key));
        self.by_key.retain(|seen| is_of_workflow(&seen.0.request.key));
    }
}

impl PartialEq for SeenRequests {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl FromIterator<SeenRequest> for SeenRequests {
    /// From a row.
    fn from_iter<I: IntoIterator<Item = SeenRequest>>(requests: I) -> Self {
        let mut seen = Self::default();
        requests.into_iter().for_each(|request| seen.remember(&request.key, &request.run_id, usize::MAX));
        seen
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
    /// A caller resets one of its runs.
    Reset,
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
            Self::Reset => "reset/",
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
            assert_eq!(seen.len(), 200.min(number + 1));
        }
        assert_eq!(seen.get(RequestKind::Signal, "999"), Some("run"));
        assert_eq!(seen.get(RequestKind::Signal, "800"), Some("run"));
        assert_eq!(seen.get(RequestKind::Signal, "799"), None);
        assert_eq!(seen.get(RequestKind::Start, "999"), None);
        assert_eq!(seen.iter().cloned().collect::<SeenRequests>(), seen);
    }

    #[test]
    fn with_a_new_chain_the_requests_of_callers_are_forgotten_and_those_of_workflows_kept() {
        let mut seen = SeenRequests::default();
        for number in 0..64 {
            for kind in [RequestKind::Start, RequestKind::Signal, RequestKind::Child, RequestKind::Sent] {
                seen.remember(&request_key(kind, &number.to_string()), "run", 10_000);
            }
        }
        seen.begin_chain();
        assert_eq!(seen.len(), 2 * 64);
        for number in 0..64 {
            let found = |kind| seen.get(kind, &number.to_string()).is_some();
            assert!(found(RequestKind::Child) && found(RequestKind::Sent), "{number}");
            assert!(!found(RequestKind::Start) && !found(RequestKind::Signal), "{number}");
        }
        assert_eq!(seen.iter().cloned().collect::<SeenRequests>(), seen);
    }

    #[test]
    fn long_ids_are_forgotten_before_the_row_is_too_large() {
        let mut seen = SeenRequests::default();
        let id = |number: usize| format!("{number:0>20000}");
        for number in 0..500 {
            seen.remember(&request_key(RequestKind::Start, &id(number)), "run", 10_000);
            let row: usize = seen.iter().map(|request| request.encoded_len() + 4).sum();
            assert!(row <= seen.bytes() && seen.bytes() <= ROW_BYTES_MAX, "{row}, {}", seen.bytes());
            assert_eq!(seen.get(RequestKind::Start, &id(number)), Some("run"));
        }
        assert_eq!(seen.get(RequestKind::Start, &id(0)), None);
        assert_eq!(seen.get(RequestKind::Start, &id(200)), Some("run"));
        seen.remember(&request_key(RequestKind::Start, &id(499)), "another run", 10_000);
        assert_eq!(seen.iter().cloned().collect::<SeenRequests>(), seen);
    }

    #[test]
    fn a_request_that_comes_again_is_the_newest() {
        let mut seen = SeenRequests::default();
        for key in ["a", "b", "a", "c", "d"] {
            seen.remember(key, "run", 3);
        }
        assert_eq!(seen.iter().map(|request| &*request.key).collect::<Vec<_>>(), ["a", "c", "d"]);
        assert_eq!(seen.by_key.len(), 3);
    }
}
