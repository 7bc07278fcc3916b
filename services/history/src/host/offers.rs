//! Offering tasks to matching.

use calls::{CallContext, OfferOutcome, OfferedTask, QueueName, TaskQueueKind};
use entities::EntityKey;
use execution::{ActivityOffered, Input, Offered, TaskOffer, TaskOffered, WorkflowTaskOffered};
use ids::TaskKey;

use super::log_delay;
use crate::HistoryService;

pub(super) async fn offer_workflow_task(service: &HistoryService, key: &EntityKey, offer: TaskOffer) -> Option<Input> {
    let kind = if offer.sticky_of.is_some() { TaskQueueKind::StickyWorkflow } else { TaskQueueKind::Workflow };
    let run_id = offer.run_id.clone();
    let offered = self::offer(service, key, offer, kind).await?;
    Some(Input::new(run_id, WorkflowTaskOffered(offered)))
}

pub(super) async fn offer_activity(service: &HistoryService, key: &EntityKey, offer: TaskOffer) -> Option<Input> {
    let run_id = offer.run_id.clone();
    let offered = self::offer(service, key, offer, TaskQueueKind::Activity).await?;
    Some(Input::new(run_id, ActivityOffered(offered)))
}

async fn offer(
    service: &HistoryService,
    key: &EntityKey,
    offer: TaskOffer,
    kind: TaskQueueKind,
) -> Option<TaskOffered> {
    let task = OfferedTask {
        queue: QueueName { namespace: key.namespace.clone(), name: offer.task_queue.clone(), kind },
        key: TaskKey { workflow_id: (&*key.id).into(), run_id: offer.run_id.as_str().into(), task: offer.task },
        normal_name: offer.sticky_of.clone().unwrap_or_default(),
        priority: offer.priority.clone(),
        scheduled_at: offer.scheduled_at,
        expires_at: offer.expires_at,
    };
    let outcome = match service.matching.offer(&CallContext::internal(&key.namespace), task).await {
        Ok(OfferOutcome::Taken) => Offered::Taken,
        Ok(OfferOutcome::Persisted) => Offered::Persisted,
        Ok(OfferOutcome::Refused) => Offered::Refused,
        Err(error) => {
            log_delay(key, "offering a task", &error);
            return None;
        }
    };
    Some(TaskOffered { task: offer.task, outcome })
}
