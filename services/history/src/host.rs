//! What shards need of this service: carrying out what workflows owe, and waking callers that wait for a workflow.
//!
//! Everything is idempotent by ids derived from the run and the event that owes it. What cannot be done now is answered
//! with nothing; the shard retries, with backoff.

mod children;
mod externals;
mod offers;

use std::future::ready;
use std::sync::{Arc, Weak};

use calls::ServiceError;
use entities::{BoxFuture, EntityKey, Host};
use execution::{Input, Obligation};

use crate::HistoryService;
use crate::kind::WorkflowKind;
use crate::watch::Watchers;

/// The service, as its shards see it.
pub(crate) struct WorkflowHost {
    pub(crate) service: Weak<HistoryService>,
    pub(crate) watchers: Watchers,
}

impl Host<WorkflowKind> for WorkflowHost {
    fn carry_out(self: Arc<Self>, key: EntityKey, obligation: Obligation) -> BoxFuture<Option<Input>> {
        match self.service.upgrade() {
            Some(service) => Box::pin(async move { carry_out(&service, &key, obligation).await }),
            None => Box::pin(ready(None)),
        }
    }

    fn committed(&self, key: &EntityKey) {
        self.watchers.wake(key);
    }

    /// Waiting callers look again, and get an error where the workflow is not served any more.
    fn closed(&self, shard: u32) {
        if let Some(service) = self.service.upgrade() {
            self.watchers.wake_all(|key| service.shard_of(key) == Some(shard));
        }
    }
}

async fn carry_out(service: &HistoryService, key: &EntityKey, obligation: Obligation) -> Option<Input> {
    match obligation {
        Obligation::OfferWorkflowTask(offer) => offers::offer_workflow_task(service, key, offer).await,
        Obligation::OfferActivity(offer) => offers::offer_activity(service, key, offer).await,
        Obligation::StartChild { run, child } => children::start(service, key, &run, &child).await,
        Obligation::ReleaseChild { run_id, initiated_event_id, child, policy } => {
            children::release(service, key, run_id, initiated_event_id, child, policy).await
        }
        Obligation::NotifyParent { run_id, parent, initiated_event_id, first_run_id, outcome } => {
            children::notify_parent(service, key, run_id, parent, initiated_event_id, first_run_id, outcome).await
        }
        Obligation::SignalExternal { run_id, signal } => externals::signal(service, key, run_id, &signal).await,
        Obligation::CancelExternal { run_id, cancel } => externals::cancel(service, key, run_id, &cancel).await,
    }
}

/// Names a request that an event of a run makes of another workflow.
fn derived_request_id(run_id: &str, event_id: i64) -> String {
    format!("{run_id}/{event_id}")
}

/// Logs why an obligation is retried later.
fn log_delay(key: &EntityKey, what: &str, error: &ServiceError) {
    tracing::debug!(workflow = %key.id, namespace = %key.namespace, %error, "{what} failed, retrying");
}
