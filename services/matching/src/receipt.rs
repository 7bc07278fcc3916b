//! What was handed to a poller, until its answer is written: a poll that turns out to be gone gives it back.

use std::sync::Arc;

use calls::{CallContext, Receipt};
use taskqueue::ItemId;

use crate::service::Core;
use crate::task_queue::{Content, Handed, Question, TaskQueue};

/// An item in an answer that is not written yet. Dropping it has the item offered again.
struct InAnswer {
    core: Arc<Core>,
    queue: Arc<TaskQueue>,
    item: ItemId,
    request_id: Option<String>,
    /// A query is known nowhere else.
    question: Option<Box<Question>>,
    is_written: bool,
}

/// Has the component that writes the answer say whether that worked.
pub(crate) fn leave_receipt(ctx: &CallContext, core: &Arc<Core>, queue: &Arc<TaskQueue>, handed: &Handed) {
    let question = match &handed.content {
        Content::Query(question) => Some(question.clone()),
        Content::Workflow(_) | Content::Activity(_) => None,
    };
    ctx.leave(Box::new(InAnswer {
        core: Arc::clone(core),
        queue: Arc::clone(queue),
        item: handed.item,
        request_id: handed.request_id.clone(),
        question,
        is_written: false,
    }));
}

impl Receipt for InAnswer {
    fn written(mut self: Box<Self>) {
        self.is_written = true;
        let mut state = self.queue.lock();
        self.core.report_handed(&self.queue, &mut state, self.item);
    }
}

impl Drop for InAnswer {
    fn drop(&mut self) {
        if self.is_written {
            return;
        }
        self.core.counters.unwritten.increment(1);
        tracing::debug!(queue = ?self.queue.name, item = ?self.item, "a poll was gone before its answer was written");
        {
            let mut state = self.queue.lock();
            state.last_used = self.core.runtime.now();
            if !state.queue.has_pollers() {
                state.broken_off = Some(state.last_used);
            }
            state.take_back_item(self.item, self.request_id.take(), self.question.take());
        }
        // Nothing can be started from here: the async runtime itself may be going down.
        let _ = self.core.nudges.send(Arc::clone(&self.queue));
    }
}
