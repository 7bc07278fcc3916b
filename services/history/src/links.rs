//! Links that answers carry: to what a request has led to.

use api::temporal::api::common::v1::link::workflow_event::{EventReference, Reference, RequestIdReference};
use api::temporal::api::common::v1::link::{Variant, Workflow, WorkflowEvent};
use api::temporal::api::common::v1::{Link, WorkflowExecution};
use api::temporal::api::enums::v1::EventType;
use calls::CallContext;
use execution::Run;

/// To what a start has led to: the event by which its request was attached to the run, or the run's first event.
pub(crate) fn to_start(ctx: &CallContext, run: &Run, request_id: &str) -> Link {
    if run.attached.contains_key(request_id) {
        return to_request(ctx, run.execution(), request_id, EventType::WorkflowExecutionOptionsUpdated);
    }
    let first = EventReference { event_id: 1, event_type: EventType::WorkflowExecutionStarted as i32 };
    to_event(ctx, run.execution(), Reference::EventRef(first))
}

/// To the event that a signal has become, or will be when the worker has ended its task.
pub(crate) fn to_signal(ctx: &CallContext, execution: WorkflowExecution, request_id: &str) -> Link {
    to_request(ctx, execution, request_id, EventType::WorkflowExecutionSignaled)
}

/// To the event by which the workflow has accepted an update, or will.
pub(crate) fn to_update(ctx: &CallContext, execution: WorkflowExecution) -> Link {
    to_request(ctx, execution, "", EventType::WorkflowExecutionUpdateAccepted)
}

/// To the run that has rejected an update, which has no event of it.
pub(crate) fn to_rejected_update(ctx: &CallContext, run: &Run) -> Link {
    let WorkflowExecution { workflow_id, run_id } = run.execution();
    let (namespace, reason) = (ctx.namespace.name.clone(), "Update rejected".to_owned());
    Link { variant: Some(Variant::Workflow(Workflow { namespace, workflow_id, run_id, reason })) }
}

/// To a run as such.
pub(crate) fn to_run(ctx: &CallContext, run: &Run) -> Link {
    let WorkflowExecution { workflow_id, run_id } = run.execution();
    let namespace = ctx.namespace.name.clone();
    let workflow = Workflow { namespace, workflow_id, run_id, reason: String::new() };
    Link { variant: Some(Variant::Workflow(workflow)) }
}

fn to_request(ctx: &CallContext, execution: WorkflowExecution, request_id: &str, kind: EventType) -> Link {
    let reference = RequestIdReference { request_id: request_id.to_owned(), event_type: kind as i32 };
    to_event(ctx, execution, Reference::RequestIdRef(reference))
}

fn to_event(ctx: &CallContext, execution: WorkflowExecution, reference: Reference) -> Link {
    let WorkflowExecution { workflow_id, run_id } = execution;
    let namespace = ctx.namespace.name.clone();
    let event = WorkflowEvent { namespace, workflow_id, run_id, reference: Some(reference) };
    Link { variant: Some(Variant::WorkflowEvent(event)) }
}
