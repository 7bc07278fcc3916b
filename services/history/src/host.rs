//! What shards ask of this service: to carry out what workflows owe, and to wake those who wait for a workflow.
//!
//! Everything is idempotent by ids derived from the run and the event that owes it. What cannot be done now is answered
//! with nothing; the shard asks again, more and more slowly.

mod children;
mod externals;
mod offers;

use std::future::ready;
use std::sync::{Arc, Weak};

use cluster::ServiceError;
use entities::{BoxFuture, CallError, EntityKey, Host};
use execution::{Input, Obligation, Rejection, Reply};

use crate::HistoryService;
use crate::kind::WorkflowKind;
use crate::watch::Watchers;

/// The service, as its shards see it.
pub(crate) struct Surroundings {
    pub(crate) service: Weak<HistoryService>,
    pub(crate) watchers: Watchers,
}

impl Host<WorkflowKind> for Surroundings {
    fn carry_out(self: Arc<Self>, key: EntityKey, obligation: Obligation) -> BoxFuture<Option<Input>> {
        match self.service.upgrade() {
            Some(service) => Box::pin(async move { carry_out(&service, &key, obligation).await }),
            None => Box::pin(ready(None)),
        }
    }

    fn committed(&self, key: &EntityKey) {
        self.watchers.wake(key);
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

/// What another workflow answered to something that was owed to it.
enum Told {
    /// It was done.
    Done(Reply),
    /// It never will be.
    Refused(Rejection),
    /// Not now.
    Later,
}

/// Gives an input to another workflow of the same namespace.
async fn tell_workflow(service: &HistoryService, key: &EntityKey, workflow_id: &str, input: Input) -> Told {
    let target = EntityKey { namespace: key.namespace.clone(), id: workflow_id.into() };
    match service.tell(&target, input).await {
        Ok(Reply::Refused(rejection)) => Told::Refused(rejection),
        Ok(reply) => Told::Done(reply),
        Err(CallError::Rejected(Rejection::NotYet(_))) => Told::Later,
        Err(CallError::Rejected(rejection)) => Told::Refused(rejection),
        Err(CallError::Quarantined(reason)) => {
            Told::Refused(Rejection::NotFound(format!("the workflow cannot be read: {reason}")))
        }
        Err(CallError::NotOwner | CallError::Overloaded { .. } | CallError::Unavailable(_)) => Told::Later,
    }
}

/// Names a request that an event of a run makes of another workflow.
fn derived_request_id(run_id: &str, event_id: i64) -> String {
    format!("{run_id}/{event_id}")
}

/// Notes why an obligation has to wait.
fn put_off(key: &EntityKey, what: &str, error: &ServiceError) {
    tracing::debug!(workflow = %key.id, namespace = %key.namespace, %error, "{what} has to wait");
}
