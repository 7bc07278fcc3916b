//! Work for threads that take as much of it at once as they like.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue from many tasks to a few threads. Pushing never blocks for longer than a push or a take of others.
pub(crate) struct WorkQueue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T> WorkQueue<T> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State { waiting: VecDeque::new(), closed: false }), changed: Condvar::new() }
    }

    /// Adds work; false if the queue is closed.
    pub(crate) fn push(&self, work: T) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.waiting.push_back(work);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Nothing more can be pushed. What waits can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Closes and forgets what waits.
    pub(crate) fn abandon(&self) {
        let forgotten = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        self.changed.notify_all();
        drop(forgotten);
    }

    /// Waits until there is work and takes as many pieces of it as `share` says of the number that wait (at least 1).
    /// `None` once the queue is closed and empty.
    pub(crate) fn take(&self, share: impl Fn(usize) -> usize) -> Option<VecDeque<T>> {
        let mut state = self.lock();
        loop {
            let waiting = state.waiting.len();
            if waiting > 0 {
                let mut taken = std::mem::take(&mut state.waiting);
                let wanted = share(waiting).clamp(1, waiting);
                state.waiting = taken.split_off(wanted);
                return Some(taken);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes what waits now, perhaps nothing, without waiting.
    pub(crate) fn take_waiting(&self) -> VecDeque<T> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Whether anything like that waits now.
    pub(crate) fn any_waiting(&self, like: impl Fn(&T) -> bool) -> bool {
        self.lock().waiting.iter().any(like)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while holding the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
