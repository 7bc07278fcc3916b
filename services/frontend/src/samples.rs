//! Valid requests with most fields set, for the fuzz tests to start from.

use std::collections::BTreeMap;

use api::temporal::api::common::v1::{
    Header, Link, Memo, Payload, Payloads, Priority, RetryPolicy, SearchAttributes, WorkflowExecution, WorkflowType,
    link,
};
use api::temporal::api::failure::v1::ApplicationFailureInfo;
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::failure::v1::failure::FailureInfo;
use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::sdk::v1::UserMetadata;
use api::temporal::api::taskqueue::v1::{StickyExecutionAttributes, TaskQueue};
use api::temporal::api::workflowservice::v1 as wire;
use bytes::Bytes;
use prost::Message;
use prost_types::Duration;

const RUN: &str = "0190c6de-7f9c-7c6e-8f44-3b6f9a2b8c01";

fn text(text: &str) -> String {
    text.to_owned()
}

fn payload() -> Payload {
    let metadata = BTreeMap::from([(text("encoding"), Bytes::from_static(b"json/plain"))]);
    Payload { metadata, data: Bytes::from_static(b"[\"a\"]"), ..Payload::default() }
}

fn payloads() -> Option<Payloads> {
    Some(Payloads { payloads: vec![payload(), payload()] })
}

fn execution() -> Option<WorkflowExecution> {
    Some(WorkflowExecution { workflow_id: text("order-1"), run_id: text(RUN) })
}

fn queue() -> Option<TaskQueue> {
    Some(TaskQueue { name: text("orders"), kind: 1, normal_name: String::new() })
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 5 })
}

fn failure() -> Option<Failure> {
    let info = ApplicationFailureInfo { r#type: text("E"), details: payloads(), ..ApplicationFailureInfo::default() };
    let cause = Some(Box::new(Failure { message: text("inner"), ..Failure::default() }));
    Some(Failure {
        message: text("outer"),
        cause,
        failure_info: Some(FailureInfo::ApplicationFailureInfo(info)),
        ..Failure::default()
    })
}

fn start() -> wire::StartWorkflowExecutionRequest {
    let fields = || BTreeMap::from([(text("TemporalChangeVersion"), payload())]);
    wire::StartWorkflowExecutionRequest {
        namespace: text("default"),
        workflow_id: text("order-1"),
        workflow_type: Some(WorkflowType { name: text("Order") }),
        task_queue: queue(),
        input: payloads(),
        workflow_execution_timeout: seconds(100),
        workflow_run_timeout: seconds(50),
        workflow_task_timeout: seconds(10),
        identity: text("me"),
        request_id: text("request"),
        workflow_id_reuse_policy: 1,
        workflow_id_conflict_policy: 2,
        retry_policy: Some(RetryPolicy {
            initial_interval: seconds(1),
            backoff_coefficient: 2.0,
            maximum_interval: seconds(10),
            maximum_attempts: 3,
            non_retryable_error_types: vec![text("E")],
        }),
        cron_schedule: text("*/5 * * * *"),
        memo: Some(Memo { fields: fields() }),
        search_attributes: Some(SearchAttributes { indexed_fields: fields() }),
        header: Some(Header { fields: fields() }),
        continued_failure: failure(),
        last_completion_result: payloads(),
        user_metadata: Some(UserMetadata { summary: Some(payload()), details: Some(payload()) }),
        links: vec![Link { variant: Some(link::Variant::BatchJob(link::BatchJob { job_id: text("job") })) }],
        priority: Some(Priority { priority_key: 3, fairness_key: text("tenant"), fairness_weight: 1.5 }),
        ..wire::StartWorkflowExecutionRequest::default()
    }
}

/// The name of an RPC and a valid request to it.
pub(super) fn valid() -> Vec<(&'static str, Vec<u8>)> {
    let token = Bytes::from_static(b"token");
    let signal = wire::SignalWorkflowExecutionRequest {
        workflow_execution: execution(),
        signal_name: text("paid"),
        input: payloads(),
        ..Default::default()
    };
    let query = wire::QueryWorkflowRequest {
        execution: execution(),
        query: Some(WorkflowQuery { query_type: text("state"), query_args: payloads(), header: None }),
        query_reject_condition: 1,
        ..Default::default()
    };
    let history = wire::GetWorkflowExecutionHistoryRequest {
        execution: execution(),
        maximum_page_size: 5,
        next_page_token: token.clone(),
        history_event_filter_type: 1,
        ..Default::default()
    };
    let completed = wire::RespondWorkflowTaskCompletedRequest {
        task_token: token.clone(),
        sticky_attributes: Some(StickyExecutionAttributes {
            worker_task_queue: Some(TaskQueue { name: text("w"), kind: 2, normal_name: text("orders") }),
            schedule_to_start_timeout: seconds(5),
        }),
        ..Default::default()
    };
    let failed = wire::RespondActivityTaskFailedRequest { task_token: token, failure: failure(), ..Default::default() };
    let register = wire::RegisterNamespaceRequest {
        namespace: text("orders"),
        workflow_execution_retention_period: seconds(86_400),
        ..Default::default()
    };
    let poll = wire::PollActivityTaskQueueRequest { task_queue: queue(), identity: text("me"), ..Default::default() };
    vec![
        ("StartWorkflowExecution", start().encode_to_vec()),
        ("SignalWorkflowExecution", signal.encode_to_vec()),
        ("QueryWorkflow", query.encode_to_vec()),
        ("GetWorkflowExecutionHistory", history.encode_to_vec()),
        ("RespondWorkflowTaskCompleted", completed.encode_to_vec()),
        ("RespondActivityTaskFailed", failed.encode_to_vec()),
        ("RegisterNamespace", register.encode_to_vec()),
        ("PollActivityTaskQueue", poll.encode_to_vec()),
    ]
}
