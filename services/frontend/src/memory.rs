//! What requests in flight may take of memory, all together: as bytes that arrive, as messages being answered, and as
//! answers that leave.
//!
//! Nothing waits for room here, since requests that hold some might wait for each other. A request that finds none is
//! refused, to be tried again. No connection and no namespace may take all there is, and the last part of it is for
//! small requests, so that a flood of large ones by one client leaves room for the others.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use calls::{Namespace, ResourceExhaustedCause, ServiceError, ServiceResult};
use ids::NamespaceId;
use metrics::Gauge;
use settings::TransportSettings;

/// Requests that hold no more than this may use the reserve. Bytes.
pub(crate) const SMALL: usize = 64 * 1024;

tokio::task_local! {
    static CURRENT: Account;
}

/// What a refused request is to wait: requests hold memory for their transfer and their answer, which is well under a
/// second, and nothing here knows more of them.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The bytes that requests in flight hold.
pub(crate) struct RequestMemory {
    held: AtomicUsize,
    bounds: Bounds,
    namespaces: RwLock<HashMap<NamespaceId, Arc<AtomicUsize>>>,
    gauge: Gauge,
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Everything.
    pub(crate) total: usize,
    /// What of it is for small requests only.
    pub(crate) reserve: usize,
    /// The requests of one connection.
    pub(crate) connection: usize,
    /// The requests to one namespace.
    pub(crate) namespace: usize,
}

impl Bounds {
    /// Shares are as configured, but never less than the largest request takes: it would be refused forever.
    pub(crate) fn of(settings: &TransportSettings) -> Self {
        let total = settings.in_flight_bytes;
        let part = |percent: u32| total / 100 * percent as usize;
        let reserve = part(settings.small_requests_percent);
        let largest = 2 * settings.request_bytes + settings.decoded_bytes;
        let share = |percent| part(percent).max(largest).min(total);
        let (connection, namespace) = (share(settings.connection_percent), share(settings.namespace_percent));
        Self { total, reserve, connection, namespace }
    }
}

/// The bytes that the requests of one connection hold. One for each connection, shared by its requests.
#[derive(Clone, Default)]
pub(crate) struct ConnectionShare(Arc<AtomicUsize>);

/// Why there is no room.
enum Short {
    Total,
    Connection,
    Namespace(String),
}

impl RequestMemory {
    /// Room within these bounds.
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        let gauge = metrics::gauge!("outlast_frontend_held_bytes");
        Arc::new(Self { held: AtomicUsize::new(0), bounds, namespaces: RwLock::default(), gauge })
    }

    /// A request of this connection, which holds nothing yet.
    pub(crate) fn request(self: &Arc<Self>, connection: ConnectionShare) -> Held {
        Held { memory: Arc::clone(self), connection, namespace: None, bytes: 0 }
    }

    fn share_of(&self, namespace: &NamespaceId) -> Arc<AtomicUsize> {
        if let Some(share) = self.namespaces.read().unwrap_or_else(PoisonError::into_inner).get(namespace) {
            return Arc::clone(share);
        }
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(namespaces.entry(namespace.clone()).or_default())
    }
}

/// A request's part, given back when dropped.
pub(crate) struct Held {
    memory: Arc<RequestMemory>,
    connection: ConnectionShare,
    namespace: Option<NamespaceShare>,
    bytes: usize,
}

#[derive(Clone)]
struct NamespaceShare {
    namespace: Arc<Namespace>,
    held: Arc<AtomicUsize>,
}

impl Held {
    /// Holds `more` bytes, if there is room. What was held stays held either way.
    pub(crate) fn grow(&mut self, more: usize) -> ServiceResult<()> {
        // Counted before it is compared, so that concurrent requests see each other.
        self.add(more);
        let short = self.short();
        if short.is_some() {
            self.shrink(more);
        }
        match short {
            None => Ok(()),
            Some((short, held, bound)) => Err(refusal(&short, held.saturating_sub(more), bound)),
        }
    }

    /// The first bound that is passed, with what is held of it.
    fn short(&self) -> Option<(Short, usize, usize)> {
        let Bounds { total, reserve, connection, namespace } = self.memory.bounds;
        let total = if self.bytes <= SMALL { total } else { total.saturating_sub(reserve) };
        let passed = |count: &AtomicUsize, bound| Some(count.load(Ordering::Relaxed)).filter(|held| *held > bound);
        if let Some(held) = passed(&self.memory.held, total) {
            return Some((Short::Total, held, total));
        }
        if let Some(held) = passed(&self.connection.0, connection) {
            return Some((Short::Connection, held, connection));
        }
        let share = self.namespace.as_ref()?;
        let held = passed(&share.held, namespace)?;
        Some((Short::Namespace(share.namespace.name.clone()), held, namespace))
    }

    /// Holds `more` bytes, whether or not there is room: for what is there already.
    pub(crate) fn add(&mut self, more: usize) {
        let before = self.memory.held.fetch_add(more, Ordering::Relaxed);
        self.connection.0.fetch_add(more, Ordering::Relaxed);
        if let Some(share) = &self.namespace {
            share.held.fetch_add(more, Ordering::Relaxed);
        }
        self.bytes += more;
        self.memory.gauge.set((before + more) as f64);
    }

    /// Gives `bytes` of what is held back.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        drop(self.split(bytes));
    }

    /// Takes `bytes` out of what is held, to be given back apart from the rest.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let (memory, connection) = (Arc::clone(&self.memory), self.connection.clone());
        Self { memory, connection, namespace: self.namespace.clone(), bytes }
    }

    /// Counts what is held to a namespace too, if there is room.
    fn attribute(&mut self, namespace: &Arc<Namespace>) -> ServiceResult<()> {
        if self.namespace.is_some() {
            return Ok(());
        }
        let held = self.memory.share_of(&namespace.id);
        let (before, bound) = (held.load(Ordering::Relaxed), self.memory.bounds.namespace);
        if before.saturating_add(self.bytes) > bound {
            return Err(refusal(&Short::Namespace(namespace.name.clone()), before, bound));
        }
        held.fetch_add(self.bytes, Ordering::Relaxed);
        self.namespace = Some(NamespaceShare { namespace: Arc::clone(namespace), held });
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let before = self.memory.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.connection.0.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(share) = &self.namespace {
            share.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.memory.gauge.set((before - self.bytes) as f64);
    }
}

fn refusal(short: &Short, held: usize, bound: usize) -> ServiceError {
    let (reason, holders) = match short {
        Short::Total => ("total", "in flight".to_owned()),
        Short::Connection => ("connection", "of this connection".to_owned()),
        Short::Namespace(name) => ("namespace", format!("to namespace {name:?}")),
    };
    refused(reason);
    ServiceError::ResourceExhausted {
        cause: ResourceExhaustedCause::SystemOverloaded,
        message: format!("requests {holders} hold {held} bytes, at most {bound} are allowed, try again"),
        retry_after: Some(RETRY_AFTER),
    }
}

/// Counts a request that is refused for what it takes of memory.
pub(crate) fn refused(reason: &'static str) {
    metrics::counter!("outlast_frontend_memory_refusals_total", "reason" => reason).increment(1);
}

/// What a request holds, shared between the transport and the request's handler.
#[derive(Clone)]
pub(crate) struct Account(Arc<Mutex<Held>>);

impl Account {
    pub(crate) fn new(held: Held) -> Self {
        Self(Arc::new(Mutex::new(held)))
    }

    /// Runs a handler, for which [`attribute`] means this account.
    pub(crate) async fn watch<T>(&self, handler: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), handler).await
    }

    /// Looks at or changes what is held.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts what the current request holds to `namespace` too, if there is room.
pub(crate) fn attribute(namespace: &Arc<Namespace>) -> ServiceResult<()> {
    CURRENT.try_with(|account| account.with(|held| held.attribute(namespace))).unwrap_or(Ok(()))
}

#[cfg(test)]
#[path = "memory_test.rs"]
mod tests;
