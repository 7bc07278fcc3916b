//! Admission: how many requests are under way at a time, and whose.
//!
//! While one namespace is alone nothing is held back: a long queue inside the server is its own. As soon as two ask for
//! something, each request needs a turn, which it has from its check to its answer. Turns are given out fairly over
//! namespaces ([`FairQueue`]), as many at a time as leave the threads free to take up a new task soon ([`Limit`]). Calls that
//! wait for something to happen pass the queue and hold no turn while they wait.

mod fair_queue;
mod limit;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use calls::{ResourceExhaustedCause, ServiceError, ServiceResult};
use ids::{NamespaceId, Timestamp};
use runtime::Runtime;
use settings::AdmissionSettings;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use self::fair_queue::Class;
use self::fair_queue::FairQueue;
use self::limit::Limit;

/// How often the lag is measured while namespaces contend.
const CHECK_INTERVAL: Duration = Duration::from_millis(2);

/// A refused request waits at least so long, though nothing has waited yet.
const SHORTEST_RETRY: Duration = Duration::from_millis(100);

/// More bytes than these count as a further request.
const BYTES_OF_ONE: usize = 16 << 10;

/// The admission of one frontend.
pub(crate) struct Admission {
    settings: AdmissionSettings,
    runtime: Runtime,
    state: Mutex<State>,
    contended: Notify,
}

struct State {
    queue: FairQueue<Waiter>,
    limit: Limit,
    /// Of the last request.
    latest: Option<NamespaceId>,
    contended_until: Timestamp,
}

struct Waiter {
    to: oneshot::Sender<Turn>,
    since: Timestamp,
}

/// What a request holds while it is under way.
pub(crate) struct Turn {
    admission: Arc<Admission>,
    namespace: NamespaceId,
    cost: usize,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        state.queue.leave(&self.namespace, self.cost);
        let next = self.admission.admitted(&mut state);
        drop(state);
        hand_out(next);
    }
}

/// A request, as far as admission is concerned.
pub(crate) struct Entrant<'a> {
    /// Its namespace's id; empty for requests to none, or to one that is not known.
    pub(crate) namespace: &'a NamespaceId,
    /// The namespace's name.
    pub(crate) name: &'a str,
    /// What it is for.
    pub(crate) class: Class,
    /// Its size.
    pub(crate) bytes: usize,
}

impl Admission {
    /// Admission by these settings. The lag is not measured until [`adapt`](Self::adapt) runs.
    pub(crate) fn new(settings: AdmissionSettings, runtime: Runtime) -> Arc<Self> {
        let limit = Limit::new(&settings);
        let queue = FairQueue::new(usize::MAX);
        let state = State { queue, limit, latest: None, contended_until: Timestamp::EPOCH };
        Arc::new(Self { settings, runtime, state: Mutex::new(state), contended: Notify::new() })
    }

    /// Returns when it is the request's turn. Refused while too much of its namespace waits already.
    pub(crate) async fn enter(self: &Arc<Self>, entrant: Entrant<'_>) -> ServiceResult<Turn> {
        let Entrant { namespace, name, class, bytes } = entrant;
        let weight = self.settings.weights.get(name).copied().unwrap_or(1).max(1) as usize;
        let cost = 1 + bytes / BYTES_OF_ONE;
        let now = self.runtime.now();
        let waiting = {
            let mut state = self.lock();
            if self.note(&mut state, namespace, now) {
                self.contended.notify_one();
            }
            if state.queue.try_enter(namespace, weight, cost) {
                return Ok(Turn { admission: Arc::clone(self), namespace: namespace.clone(), cost });
            }
            self.check_line(&state, namespace, name, class, now)?;
            let (to, turn) = oneshot::channel();
            state.queue.wait(namespace, weight, class, cost, Waiter { to, since: now });
            turn
        };
        waiting.await.map_err(|_| ServiceError::Unavailable("the server stops, try again".to_owned()))
    }

    /// Notes whose request came. Says whether namespaces begin to contend.
    fn note(&self, state: &mut State, namespace: &NamespaceId, now: Timestamp) -> bool {
        let is_other = state.latest.as_ref().is_some_and(|latest| latest != namespace);
        if is_other || state.latest.is_none() {
            state.latest = Some(namespace.clone());
        }
        if !is_other {
            return false;
        }
        let begins = now >= state.contended_until;
        state.contended_until = now + self.settings.contended_for;
        if begins {
            let limit = state.limit.now();
            state.queue.set_limit(limit);
        }
        begins
    }

    fn check_line(
        &self,
        state: &State,
        namespace: &NamespaceId,
        name: &str,
        class: Class,
        now: Timestamp,
    ) -> ServiceResult<()> {
        let waiting = state.queue.waiting(namespace);
        let longest = state.queue.first(namespace, class).map_or(Duration::ZERO, |first| now.since(first.since));
        let is_late = class == Class::Beginning && longest > self.settings.longest_wait;
        if waiting < self.settings.waiting && !is_late {
            return Ok(());
        }
        metrics::counter!("outlast_frontend_admission_refused_total").increment(1);
        Err(ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::SystemOverloaded,
            message: format!(
                "{waiting} requests to namespace {name:?} wait for their turn, the first for {longest:?}; at most {} for {:?} are allowed",
                self.settings.waiting, self.settings.longest_wait
            ),
            // What waits before it takes about as long again.
            retry_after: Some(longest.max(SHORTEST_RETRY)),
        })
    }

    /// Admits all that may be admitted now.
    fn admitted(self: &Arc<Self>, state: &mut State) -> Vec<(oneshot::Sender<Turn>, Turn)> {
        let mut admitted = Vec::new();
        while let Some((namespace, cost, waiter)) = state.queue.next(|waiter| waiter.to.is_closed()) {
            admitted.push((waiter.to, Turn { admission: Arc::clone(self), namespace, cost }));
        }
        admitted
    }

    /// Measures the lag and sets the limit by it, until `gone`.
    pub(crate) async fn adapt(self: Arc<Self>, gone: CancellationToken) {
        loop {
            let rest = if self.is_contended() { Some(CHECK_INTERVAL) } else { None };
            let rested = async {
                match rest {
                    Some(rest) => self.runtime.sleep(rest).await,
                    None => self.contended.notified().await,
                }
            };
            tokio::select! {
                () = gone.cancelled() => return,
                () = rested => {}
            }
            let ready = self.runtime.now();
            tokio::task::yield_now().await;
            self.observe(self.runtime.now().since(ready));
        }
    }

    /// Whether namespaces contend; if they do not any more, nothing is held back.
    fn is_contended(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        if self.runtime.now() < state.contended_until {
            return true;
        }
        state.queue.set_limit(usize::MAX);
        let next = self.admitted(&mut state);
        drop(state);
        hand_out(next);
        false
    }

    fn observe(self: &Arc<Self>, lag: Duration) {
        let mut state = self.lock();
        state.limit.observe(lag);
        let limit = state.limit.now();
        state.queue.set_limit(limit);
        let next = self.admitted(&mut state);
        drop(state);
        hand_out(next);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends turns to their waiters. One whose waiter is gone goes back by being dropped.
fn hand_out(turns: Vec<(oneshot::Sender<Turn>, Turn)>) {
    for (to, turn) in turns {
        drop(to.send(turn));
    }
}

#[cfg(test)]
#[path = "admission_test.rs"]
mod tests;
