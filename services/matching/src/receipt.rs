//! What was delivered to a poller, until the response is written: if the poll is gone by then, the item waits again.

use std::sync::Arc;

use calls::{CallContext, Receipt};
use taskqueue::ItemId;

use crate::service::Core;
use crate::task_queue::{Content, DeliveredItem, PendingQuery, TaskQueue};

/// An item in a response that is not written yet. Dropping it puts the item back.
struct UnwrittenResponse {
    core: Arc<Core>,
    queue: Arc<TaskQueue>,
    item: ItemId,
    request_id: Option<String>,
    /// A query is known nowhere else.
    query: Option<Box<PendingQuery>>,
    is_written: bool,
}

/// Acknowledges the item once the response is written, and puts it back if it cannot be.
pub(crate) fn ack_on_write(ctx: &CallContext, core: &Arc<Core>, queue: &Arc<TaskQueue>, delivered: &DeliveredItem) {
    let query = match &delivered.content {
        Content::Query(query) => Some(query.clone()),
        Content::Workflow(_) | Content::Activity(_) => None,
    };
    ctx.attach_receipt(Box::new(UnwrittenResponse {
        core: Arc::clone(core),
        queue: Arc::clone(queue),
        item: delivered.item,
        request_id: delivered.request_id.clone(),
        query,
        is_written: false,
    }));
}

impl Receipt for UnwrittenResponse {
    fn written(mut self: Box<Self>) {
        self.is_written = true;
        let mut state = self.queue.lock();
        self.core.report_delivered(&self.queue, &mut state, self.item);
    }
}

impl Drop for UnwrittenResponse {
    fn drop(&mut self) {
        if self.is_written {
            return;
        }
        self.core.counters.unwritten.increment(1);
        tracing::debug!(queue = ?self.queue.name, item = ?self.item, "a poll ended before its response was written, its item waits again");
        {
            let mut state = self.queue.lock();
            state.last_used = self.core.runtime.now();
            if !state.queue.has_pollers() {
                state.last_disconnect = Some(state.last_used);
            }
            state.take_back_item(self.item, self.request_id.take(), self.query.take());
        }
        // Nothing can be started from here: the async runtime itself may be going down.
        let _ = self.core.wake_queue.send(Arc::clone(&self.queue));
    }
}
