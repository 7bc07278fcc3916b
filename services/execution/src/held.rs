//! What the parts of a workflow hold on the heap.

use std::collections::BTreeMap;
use std::mem::size_of;
use std::sync::Arc;

use api::temporal::api::common::v1::Payload;
use api::{Held, map_bytes, shared_bytes};

use crate::pending::{Activity, ActivityProgress, AttachedRequest, Child, ExternalCancel, ExternalSignal, Timer};
use crate::run::{Ancestor, Run, RunCore};
use crate::shared_map::SharedMap;
use crate::workflow::Workflow;
use crate::workflow_task::{TaskStart, WorkflowTask};

impl Held for ActivityProgress {
    fn heap_bytes(&self) -> usize {
        self.request_id.heap_bytes()
            + self.identity.heap_bytes()
            + self.heartbeat_details.heap_bytes()
            + self.last_failure.heap_bytes()
    }

    fn own_bytes(&mut self) {
        self.heartbeat_details.own_bytes();
        self.last_failure.own_bytes();
    }
}

impl Held for Activity {
    fn heap_bytes(&self) -> usize {
        shared_bytes(&*self.schedule) + self.progress.heap_bytes()
    }
}

impl Held for Timer {
    fn heap_bytes(&self) -> usize {
        self.timer_id.heap_bytes()
    }
}

impl Held for AttachedRequest {
    fn heap_bytes(&self) -> usize {
        self.request_id.heap_bytes()
    }
}

impl Held for Child {
    fn heap_bytes(&self) -> usize {
        shared_bytes(&*self.initiated) + self.user_metadata.heap_bytes() + self.run_id.heap_bytes()
    }
}

impl Held for ExternalSignal {
    fn heap_bytes(&self) -> usize {
        shared_bytes(&*self.initiated)
    }
}

impl Held for ExternalCancel {
    fn heap_bytes(&self) -> usize {
        shared_bytes(&*self.initiated)
    }
}

impl Held for TaskStart {
    fn heap_bytes(&self) -> usize {
        self.request_id.heap_bytes()
            + self.identity.heap_bytes()
            + self.suggest_reasons.heap_bytes()
            + self.worker_version.heap_bytes()
    }
}

impl Held for WorkflowTask {
    fn heap_bytes(&self) -> usize {
        self.start().map_or(0, Held::heap_bytes)
    }
}

impl Held for RunCore {
    fn heap_bytes(&self) -> usize {
        let texts = [
            &self.run_id,
            &self.sticky_queue,
            &self.cancel_request_id,
            &self.next_run_id,
            &self.start_request_id,
            &self.reset_run_id,
        ];
        self.ancestors.heap_bytes() + texts.into_iter().map(Held::heap_bytes).sum::<usize>()
    }
}

impl Held for Ancestor {
    fn heap_bytes(&self) -> usize {
        self.run_id.heap_bytes()
    }
}

impl Workflow {
    /// Bytes on the heap. Costs as much as there are runs in memory, however large they are.
    pub fn held_bytes(&self) -> usize {
        let around_run = SharedMap::<Arc<Run>>::NODE_BYTES + 2 * size_of::<usize>() + size_of::<Run>();
        let absent: usize = self.absent.iter().map(Held::heap_bytes).sum();
        2 * size_of::<usize>()
            + size_of_val(&*self.chain)
            + self.chain.held_bytes()
            + self.runs.values().map(|run| around_run + run.held_bytes()).sum::<usize>()
            + map_bytes::<String, ()>(self.absent.len())
            + absent
    }
}

/// A part of a workflow, with memory of its own.
pub(crate) fn owned<T: Held>(mut part: T) -> T {
    part.own_bytes();
    part
}

/// The same for an optional part that has its own place on the heap.
pub(crate) fn owned_in_arc<T: Held + Default>(part: Option<T>) -> Arc<T> {
    Arc::new(owned(part.unwrap_or_default()))
}

/// The same for values by name. Those that the run started with and still has are in memory once.
pub(crate) fn owned_fields(
    mut fields: BTreeMap<String, Payload>,
    started_with: Option<&BTreeMap<String, Payload>>,
) -> Arc<BTreeMap<String, Payload>> {
    for (name, value) in &mut fields {
        match started_with.and_then(|fields| fields.get(name)) {
            Some(former) if former == value => value.clone_from(former),
            _ => value.own_bytes(),
        }
    }
    Arc::new(fields)
}
