//! A worker leaves: its polls end, no later one gets anything, and its sticky queue refuses what is offered.

use std::sync::Arc;

use api::temporal::api::enums::v1::TaskQueueType;
use api::temporal::api::workflowservice::v1 as wire;
use calls::{CallContext, QueueName, TaskQueueKind};

use crate::service::Core;
use crate::task_queue::{OfferEnd, QueueState};
use taskqueue::Withdrawal;

impl Core {
    pub(crate) fn shutdown_worker(
        self: &Arc<Self>,
        ctx: &CallContext,
        request: wire::ShutdownWorkerRequest,
    ) -> wire::ShutdownWorkerResponse {
        let namespace = &ctx.namespace.id;
        self.workers.leave(namespace, &request.worker_instance_key, places(&request).as_deref(), self.runtime.now());
        let sticky = QueueName {
            namespace: namespace.clone(),
            name: request.sticky_task_queue,
            kind: TaskQueueKind::StickyWorkflow,
        };
        // A sticky queue that is not in memory, or is another node's, refuses offers anyway, and has no polls here.
        if !sticky.name.is_empty()
            && let Some(queue) = self.find_queue(&sticky)
        {
            self.close_sticky_queue(&mut queue.lock());
        }
        wire::ShutdownWorkerResponse {}
    }

    fn close_sticky_queue(&self, state: &mut QueueState) {
        state.queue.close();
        for item in state.queue.items() {
            // What is on its way to the worker either arrives or is refused when it comes back.
            let Withdrawal::Withdrawn(_) = state.queue.withdraw(item) else { continue };
            if let Some(pending) = state.offers.remove(&item) {
                let _ = pending.to.send(OfferEnd::Refused);
            }
            if let Some(query) = state.queries.remove(&item) {
                self.refuse_query(&query);
            }
        }
    }
}

/// The queues that a shutdown is about: its task queue with the types that it names (all, if none) and its sticky queue.
/// `None` stands for the whole worker.
fn places(request: &wire::ShutdownWorkerRequest) -> Option<Vec<(String, TaskQueueKind)>> {
    if request.task_queue.is_empty() {
        return None;
    }
    let wanted =
        |kind: TaskQueueType| request.task_queue_types.is_empty() || request.task_queue_types.contains(&(kind as i32));
    let queue = |kind| (request.task_queue.clone(), kind);
    let mut places = Vec::new();
    if wanted(TaskQueueType::Workflow) {
        places.push(queue(TaskQueueKind::Workflow));
        if !request.sticky_task_queue.is_empty() {
            places.push((request.sticky_task_queue.clone(), TaskQueueKind::StickyWorkflow));
        }
    }
    if wanted(TaskQueueType::Activity) {
        places.push(queue(TaskQueueKind::Activity));
    }
    if wanted(TaskQueueType::Nexus) {
        places.push(queue(TaskQueueKind::Nexus));
    }
    Some(places)
}
