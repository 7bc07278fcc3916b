//! Starts, field by field.

use api::temporal::api::workflowservice::v1::StartWorkflowExecutionRequest;

use super::*;

fn valid() -> StartWorkflowExecutionRequest {
    StartWorkflowExecutionRequest {
        workflow_id: "order-1".to_owned(),
        workflow_type: Some(WorkflowType { name: "Order".to_owned() }),
        task_queue: Some(TaskQueue { name: "orders".to_owned(), ..TaskQueue::default() }),
        ..StartWorkflowExecutionRequest::default()
    }
}

fn checked(change: impl FnOnce(&mut StartWorkflowExecutionRequest)) -> String {
    let mut request = valid();
    change(&mut request);
    match start(borrow_start!(request), &RequestLimits::default()) {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    }
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

#[test]
fn a_plain_start_is_accepted() {
    assert_eq!(checked(|_| {}), "");
    assert_eq!(checked(|request| request.cron_schedule = "CRON_TZ=Europe/Paris 30 8 * * *".to_owned()), "");
    assert_eq!(checked(|request| request.workflow_run_timeout = seconds(3600)), "");
}

#[test]
fn what_is_missing_too_long_or_absurd_is_named() {
    assert_eq!(checked(|request| request.workflow_id.clear()), "workflow_id is not set");
    assert_eq!(checked(|request| request.workflow_type = None), "workflow_type.name is not set");
    assert_eq!(checked(|request| request.task_queue = None), "task_queue is not set");
    let long = checked(|request| request.identity = "i".repeat(1001));
    assert!(long.starts_with("identity \"iii") && long.ends_with("is 1001 bytes long, at most 1000 are allowed"));
    assert!(checked(|request| request.request_id = "r".repeat(1001)).starts_with("request_id \"rrr"));
    let negative = "workflow_execution_timeout is -1 s and 0 ns, a duration of 0 or more is allowed";
    assert_eq!(checked(|request| request.workflow_execution_timeout = seconds(-1)), negative);
    assert!(checked(|request| request.workflow_task_timeout = seconds(i64::MAX)).starts_with("workflow_task_timeout"));
}

#[test]
fn cron_schedules_must_be_understood_and_exclude_a_start_delay() {
    let unknown = checked(|request| request.cron_schedule = "every monday".to_owned());
    assert!(unknown.starts_with("cron_schedule \"every monday\" cannot be understood: "), "{unknown}");
    let both = checked(|request| {
        request.cron_schedule = "@every 1h".to_owned();
        request.workflow_start_delay = seconds(5);
    });
    assert_eq!(both, "workflow_start_delay and cron_schedule \"@every 1h\" are both set, one of them is allowed");
    let delayed = checked(|request| request.workflow_start_delay = seconds(5));
    assert_eq!(delayed, "");
}

#[test]
fn policies_that_contradict_each_other_are_refused() {
    use WorkflowIdConflictPolicy as Conflict;
    use WorkflowIdReusePolicy as Reuse;
    let accepted =
        |reuse: Reuse, conflict: Conflict, signalling| policies(reuse as i32, conflict as i32, signalling).is_ok();
    for reuse in [Reuse::Unspecified, Reuse::AllowDuplicate, Reuse::AllowDuplicateFailedOnly, Reuse::RejectDuplicate] {
        assert!(accepted(reuse, Conflict::Unspecified, false));
        assert!(accepted(reuse, Conflict::Fail, false));
        assert!(accepted(reuse, Conflict::UseExisting, false));
        assert_eq!(accepted(reuse, Conflict::TerminateExisting, false), reuse != Reuse::RejectDuplicate);
        assert!(!accepted(reuse, Conflict::Fail, true));
        assert!(accepted(reuse, Conflict::UseExisting, true));
    }
    assert!(accepted(Reuse::TerminateIfRunning, Conflict::Unspecified, false));
    for conflict in [Conflict::Fail, Conflict::UseExisting, Conflict::TerminateExisting] {
        assert!(!accepted(Reuse::TerminateIfRunning, conflict, false));
    }
    assert!(policies(9, 0, false).is_err());
    assert!(policies(0, 9, false).is_err());
}
