//! The commands of workflow code, as a script writes them after `+`.

use api::temporal::api::command::v1::command::Attributes as A;
use api::temporal::api::command::v1::*;
use api::temporal::api::common::v1::{ActivityType, Memo, Priority, SearchAttributes, WorkflowExecution, WorkflowType};
use api::temporal::api::enums::v1::{CommandType, ParentClosePolicy, WorkflowIdReusePolicy};
use api::temporal::api::failure::v1::failure::FailureInfo;
use api::temporal::api::failure::v1::{ApplicationFailureInfo, Failure};
use api::temporal::api::sdk::v1::UserMetadata;
use api::temporal::api::taskqueue::v1::TaskQueue;

use crate::words::{Words, payload, payloads};

/// Reads one command: `activity A start=10s`, `timer T 5s`, `complete result=x`, …
pub fn command(text: &str) -> Result<Command, String> {
    let words = Words::read(text);
    let attributes = match words.verb.as_str() {
        "activity" => activity(&words)?,
        "cancel-activity" => {
            A::RequestCancelActivityTaskCommandAttributes(RequestCancelActivityTaskCommandAttributes {
                scheduled_event_id: words.number("event")?.unwrap_or_default(),
            })
        }
        "timer" => A::StartTimerCommandAttributes(StartTimerCommandAttributes {
            timer_id: words.name()?.to_owned(),
            start_to_fire_timeout: words.duration("after")?,
        }),
        "cancel-timer" => {
            A::CancelTimerCommandAttributes(CancelTimerCommandAttributes { timer_id: words.name()?.to_owned() })
        }
        "child" => child(&words)?,
        "signal" => {
            A::SignalExternalWorkflowExecutionCommandAttributes(SignalExternalWorkflowExecutionCommandAttributes {
                execution: Some(WorkflowExecution { workflow_id: words.name()?.to_owned(), run_id: words.text("run") }),
                signal_name: words.text("signal"),
                input: words.payloads("input"),
                child_workflow_only: words.flag("child-only"),
                ..SignalExternalWorkflowExecutionCommandAttributes::default()
            })
        }
        "cancel-external" => A::RequestCancelExternalWorkflowExecutionCommandAttributes(
            RequestCancelExternalWorkflowExecutionCommandAttributes {
                workflow_id: words.name()?.to_owned(),
                run_id: words.text("run"),
                reason: words.text("reason"),
                ..RequestCancelExternalWorkflowExecutionCommandAttributes::default()
            },
        ),
        "marker" => A::RecordMarkerCommandAttributes(RecordMarkerCommandAttributes {
            marker_name: words.name()?.to_owned(),
            details: words.payloads("details").map(|details| ("data".to_owned(), details)).into_iter().collect(),
            ..RecordMarkerCommandAttributes::default()
        }),
        "search-attributes" => {
            A::UpsertWorkflowSearchAttributesCommandAttributes(UpsertWorkflowSearchAttributesCommandAttributes {
                search_attributes: words.fields("set").map(|indexed_fields| SearchAttributes { indexed_fields }),
            })
        }
        "memo" => A::ModifyWorkflowPropertiesCommandAttributes(ModifyWorkflowPropertiesCommandAttributes {
            upserted_memo: words.fields("set").map(|fields| Memo { fields }),
        }),
        "complete" => A::CompleteWorkflowExecutionCommandAttributes(CompleteWorkflowExecutionCommandAttributes {
            result: words.payloads("result"),
        }),
        "fail" => A::FailWorkflowExecutionCommandAttributes(FailWorkflowExecutionCommandAttributes {
            failure: Some(failure(&words)?),
        }),
        "cancel" => A::CancelWorkflowExecutionCommandAttributes(CancelWorkflowExecutionCommandAttributes {
            details: words.payloads("details"),
        }),
        "continue-as-new" => continue_as_new(&words)?,
        "update" => A::ProtocolMessageCommandAttributes(ProtocolMessageCommandAttributes::default()),
        "nexus" => A::ScheduleNexusOperationCommandAttributes(ScheduleNexusOperationCommandAttributes::default()),
        "nothing" => return Ok(Command { command_type: CommandType::StartTimer as i32, ..Command::default() }),
        other => return Err(format!("{other:?} is no command")),
    };
    let user_metadata =
        words.get("summary").map(|text| UserMetadata { summary: Some(payload(text)), ..UserMetadata::default() });
    Ok(Command { attributes: Some(attributes), user_metadata, ..Command::default() })
}

fn activity(words: &Words) -> Result<A, String> {
    Ok(A::ScheduleActivityTaskCommandAttributes(ScheduleActivityTaskCommandAttributes {
        activity_id: words.name()?.to_owned(),
        activity_type: Some(ActivityType { name: words.get("type").unwrap_or("Work").to_owned() }),
        task_queue: queue(words),
        input: words.payloads("input"),
        schedule_to_close_timeout: words.duration("close")?,
        schedule_to_start_timeout: words.duration("wait")?,
        start_to_close_timeout: words.duration("start")?,
        heartbeat_timeout: words.duration("heartbeat")?,
        retry_policy: words.retry()?,
        request_eager_execution: words.flag("eager"),
        priority: priority(words),
        ..ScheduleActivityTaskCommandAttributes::default()
    }))
}

fn child(words: &Words) -> Result<A, String> {
    let policy = match words.get("policy") {
        None => ParentClosePolicy::Unspecified,
        Some("abandon") => ParentClosePolicy::Abandon,
        Some("cancel") => ParentClosePolicy::RequestCancel,
        Some("terminate") => ParentClosePolicy::Terminate,
        Some(other) => return Err(format!("{other:?} is no parent close policy")),
    };
    Ok(A::StartChildWorkflowExecutionCommandAttributes(StartChildWorkflowExecutionCommandAttributes {
        workflow_id: words.name()?.to_owned(),
        workflow_type: Some(WorkflowType { name: "Child".to_owned() }),
        task_queue: queue(words),
        input: words.payloads("input"),
        workflow_run_timeout: words.duration("run")?,
        parent_close_policy: policy as i32,
        workflow_id_reuse_policy: WorkflowIdReusePolicy::Unspecified as i32,
        retry_policy: words.retry()?,
        cron_schedule: words.text("cron"),
        search_attributes: words.fields("attributes").map(|indexed_fields| SearchAttributes { indexed_fields }),
        priority: priority(words),
        ..StartChildWorkflowExecutionCommandAttributes::default()
    }))
}

fn continue_as_new(words: &Words) -> Result<A, String> {
    Ok(A::ContinueAsNewWorkflowExecutionCommandAttributes(ContinueAsNewWorkflowExecutionCommandAttributes {
        workflow_type: words.get("type").map(|name| WorkflowType { name: name.to_owned() }),
        task_queue: queue(words),
        input: words.payloads("input"),
        workflow_run_timeout: words.duration("run")?,
        backoff_start_interval: words.duration("backoff")?,
        search_attributes: words.fields("attributes").map(|indexed_fields| SearchAttributes { indexed_fields }),
        retry_policy: words.retry()?,
        ..ContinueAsNewWorkflowExecutionCommandAttributes::default()
    }))
}

fn priority(words: &Words) -> Option<Priority> {
    words.get("fairness").map(|key| Priority { fairness_key: key.to_owned(), ..Priority::default() })
}

pub fn queue(words: &Words) -> Option<TaskQueue> {
    words.get("queue").map(|name| TaskQueue { name: name.to_owned(), ..TaskQueue::default() })
}

/// An application failure: `type=T message=m final delay=5s causes=3`.
pub fn failure(words: &Words) -> Result<Failure, String> {
    let causes: usize = words.number("causes")?.unwrap_or_default();
    let info = ApplicationFailureInfo {
        r#type: words.text("type"),
        non_retryable: words.flag("final"),
        details: words.get("failure-details").map(payloads),
        next_retry_delay: words.duration("delay")?,
        ..ApplicationFailureInfo::default()
    };
    let innermost = (causes > 0).then(|| Failure { message: "innermost".to_owned(), ..Failure::default() });
    let cause =
        (1..causes).fold(innermost, |cause, _| Some(Failure { cause: cause.map(Box::new), ..Failure::default() }));
    Ok(Failure {
        message: words.text("message"),
        failure_info: Some(FailureInfo::ApplicationFailureInfo(info)),
        cause: cause.map(Box::new),
        ..Failure::default()
    })
}
