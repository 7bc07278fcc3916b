//! The connections that are open: how many in all and of one address, and which has to go when there are too many.
//!
//! A connection with a request in progress is never closed for another. Of the others those go first that never had a
//! request, the oldest of them first, then the one whose last request is longest ago.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::task::AtomicWaker;
use tokio::sync::Notify;

/// Set in the number of requests of a connection that takes no more.
const CLOSING: usize = 1 << (usize::BITS - 1);

/// All open connections of one listener.
pub(in crate::transport) struct Open {
    most: usize,
    most_of_address: usize,
    table: Mutex<Table>,
    /// Counts the requests that ended: the order in which connections were used last.
    ended: AtomicU64,
    /// Whether a newcomer waits for `changed`.
    waiting: AtomicBool,
    /// A place, or a connection without a request, may be there.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    connections: BTreeMap<u64, ConnectionInfo>,
    of_address: BTreeMap<IpAddr, usize>,
}

/// One connection, as its requests know it: tonic puts it into each of them.
#[derive(Clone)]
pub(in crate::transport) struct ConnectionInfo(Arc<State>);

struct State {
    address: IpAddr,
    /// Requests in progress, and perhaps [`CLOSING`].
    requests: AtomicUsize,
    /// When its last request ended, as [`Open::ended`] counted it; 0 if it never had one.
    used: AtomicU64,
    /// The task that reads and writes.
    task: AtomicWaker,
    open: Arc<Open>,
}

/// A request in progress, until dropped.
pub(in crate::transport) struct InProgress(ConnectionInfo);

impl Drop for InProgress {
    fn drop(&mut self) {
        let State { requests, used, open, .. } = &*self.0.0;
        used.store(open.ended.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        if requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            open.note_change();
        }
    }
}

impl ConnectionInfo {
    /// Counts a request; nothing if the connection is being closed, so that none takes effect without an answer.
    pub(in crate::transport) fn begin(&self) -> Option<InProgress> {
        let one_more = |requests| (requests & CLOSING == 0).then_some(requests + 1);
        let counted = self.0.requests.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        counted.is_ok().then(|| InProgress(self.clone()))
    }

    /// Whether it is to end. Its task is woken once that changes, if it registered with [`ConnectionInfo::wake`].
    pub(super) fn is_closing(&self) -> bool {
        self.0.requests.load(Ordering::Acquire) & CLOSING != 0
    }

    /// Names the task to wake.
    pub(super) fn wake(&self, waker: &std::task::Waker) {
        self.0.task.register(waker);
    }

    /// Closes it, if it has no request.
    fn close(&self) -> bool {
        let closed = self.0.requests.compare_exchange(0, CLOSING, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if closed {
            self.0.task.wake();
        }
        closed
    }
}

/// An open connection's place, given back when dropped.
pub(super) struct Place {
    id: u64,
    pub(super) info: ConnectionInfo,
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = &self.info.0.open;
        open.lock().remove(self.id);
        open.note_change();
    }
}

/// What there is for a newcomer.
pub(super) enum Admission {
    /// A place.
    Admitted(Place),
    /// All connections have requests.
    Full,
    /// All connections of its address, of which there are too many, have requests.
    TooMany,
}

impl Open {
    /// Room for `most` connections, `most_of_address` of each address.
    pub(super) fn new(most: usize, most_of_address: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_of_address,
            table: Mutex::default(),
            ended: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    /// A place for a connection from `address`, once there is one; nothing if its address has too many. One caller at a
    /// time.
    pub(super) async fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        loop {
            self.waiting.store(true, Ordering::SeqCst);
            let admission = self.try_admit(address);
            if !matches!(admission, Admission::Full) {
                self.waiting.store(false, Ordering::SeqCst);
            }
            match admission {
                Admission::Admitted(place) => return Some(place),
                Admission::TooMany => return None,
                // Whatever changed since the attempt began has left a permit.
                Admission::Full => self.changed.notified().await,
            }
        }
    }

    /// A place for a connection from `address`, if need be that of another connection.
    pub(super) fn try_admit(self: &Arc<Self>, address: IpAddr) -> Admission {
        let address = site(address);
        let mut table = self.lock();
        if table.of_address.get(&address).is_some_and(|open| *open >= self.most_of_address)
            && !table.close_one("address", |peer| peer.0.address == address)
        {
            count_closed("address");
            return Admission::TooMany;
        }
        if table.connections.len() >= self.most && !table.close_one("connections", |_| true) {
            return Admission::Full;
        }
        let (requests, used, task) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicWaker::new());
        let info = ConnectionInfo(Arc::new(State { address, requests, used, task, open: Arc::clone(self) }));
        Admission::Admitted(Place { id: table.insert(&info), info })
    }

    /// Closes the connection that is missed least, if there is any without a request. `bound` says of what there is too
    /// little.
    pub(super) fn close_one(&self, bound: &'static str) -> bool {
        self.lock().close_one(bound, |_| true)
    }

    fn note_change(&self) {
        if self.waiting.load(Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, info: &ConnectionInfo) -> u64 {
        let id = self.next;
        self.next += 1;
        *self.of_address.entry(info.0.address).or_default() += 1;
        self.connections.insert(id, info.clone());
        id
    }

    /// A connection that was closed for another is gone already.
    fn remove(&mut self, id: u64) {
        let Some(info) = self.connections.remove(&id) else { return };
        if let Some(open) = self.of_address.get_mut(&info.0.address) {
            *open -= 1;
            if *open == 0 {
                self.of_address.remove(&info.0.address);
            }
        }
    }

    fn close_one(&mut self, bound: &'static str, may_go: impl Fn(&ConnectionInfo) -> bool) -> bool {
        loop {
            let idle = |peer: &ConnectionInfo| peer.0.requests.load(Ordering::Acquire) == 0;
            let candidates = self.connections.iter().filter(|(_, peer)| may_go(peer) && idle(peer));
            let first = candidates.min_by_key(|(id, peer)| (peer.0.used.load(Ordering::Relaxed), **id));
            let Some((&id, peer)) = first else { return false };
            // Unless a request has arrived in between.
            if peer.close() {
                self.remove(id);
                count_closed(bound);
                return true;
            }
        }
    }
}

/// Counts a connection that was closed because of a bound.
pub(super) fn count_closed(bound: &'static str) {
    metrics::counter!("outlast_frontend_connections_closed_total", "bound" => bound).increment(1);
}

/// Whose address that is: of IPv6, a site has at least 64 bits to itself.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
#[path = "open_test.rs"]
mod tests;
