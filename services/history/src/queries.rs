//! Queries that wait for a workflow task: they are handed out with it, and answered with its completion.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use api::temporal::api::query::v1::{WorkflowQuery, WorkflowQueryResult};
use entities::EntityKey;
use tokio::sync::oneshot;

/// All that wait, by run.
pub(crate) struct BufferedQueries {
    most: usize,
    waiting: Mutex<HashMap<RunName, BTreeMap<String, Waiting>>>,
}

/// A run of a workflow ID.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RunName {
    pub(crate) key: EntityKey,
    pub(crate) run_id: String,
}

struct Waiting {
    query: WorkflowQuery,
    /// The dispatch of the task that carries it.
    carried_by: Option<i64>,
    answer: oneshot::Sender<WorkflowQueryResult>,
}

/// A query that waits. Dropping it cancels it.
pub(crate) struct Buffered<'a> {
    queries: &'a BufferedQueries,
    run: RunName,
    id: String,
    pub(crate) answer: oneshot::Receiver<WorkflowQueryResult>,
}

/// Queries of a completion that is being decided: nothing else answers or drops them meanwhile.
pub(crate) struct Carried {
    queries: BTreeMap<String, Waiting>,
}

impl BufferedQueries {
    /// At most `most` may wait for one run.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, waiting: Mutex::default() }
    }

    /// Lets a query wait for the next workflow task; `None` when too many do.
    pub(crate) fn wait(&self, run: RunName, id: String, query: WorkflowQuery) -> Option<Buffered<'_>> {
        let (answer, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        let of_run = waiting.entry(run.clone()).or_default();
        if of_run.len() >= self.most {
            return None;
        }
        of_run.insert(id.clone(), Waiting { query, carried_by: None, answer });
        Some(Buffered { queries: self, run, id, answer: receiver })
    }

    /// Everything that waits for the run, to be carried by the task with this stamp.
    pub(crate) fn attach(&self, run: &RunName, stamp: i64) -> BTreeMap<String, WorkflowQuery> {
        let mut waiting = self.lock();
        let Some(of_run) = waiting.get_mut(run) else { return BTreeMap::new() };
        of_run
            .iter_mut()
            .map(|(id, waiting)| {
                waiting.carried_by = Some(stamp);
                (id.clone(), waiting.query.clone())
            })
            .collect()
    }

    /// Takes what the task with this stamp carries, until its completion is decided.
    pub(crate) fn take_carried(&self, run: &RunName, stamp: i64) -> Carried {
        let mut waiting = self.lock();
        let Some(of_run) = waiting.get_mut(run) else { return Carried { queries: BTreeMap::new() } };
        let (carried, rest) =
            std::mem::take(of_run).into_iter().partition(|(_, waiting)| waiting.carried_by == Some(stamp));
        *of_run = rest;
        if of_run.is_empty() {
            waiting.remove(run);
        }
        Carried { queries: carried }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunName, BTreeMap<String, Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carried {
    /// The completion counts: answers what it answers. Callers left without an answer take another route.
    pub(crate) fn answer(mut self, results: BTreeMap<String, WorkflowQueryResult>) {
        for (id, result) in results {
            if let Some(waiting) = self.queries.remove(&id) {
                // A caller that is gone needs no answer.
                let _ = waiting.answer.send(result);
            }
        }
    }
}

impl Buffered<'_> {
    /// Whether the query still waits for a task; false while a completion that may answer it is being decided.
    pub(crate) fn is_waiting(&self) -> bool {
        self.queries.lock().get(&self.run).is_some_and(|of_run| of_run.contains_key(&self.id))
    }
}

impl Drop for Buffered<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queries.lock();
        if let Some(of_run) = waiting.get_mut(&self.run) {
            of_run.remove(&self.id);
            if of_run.is_empty() {
                waiting.remove(&self.run);
            }
        }
    }
}
