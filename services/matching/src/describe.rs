//! DescribeTaskQueue: the pollers, and how much is waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::temporal::api::enums::v1::{DescribeTaskQueueMode, RateLimitSource, TaskQueueKind as WireKind, TaskQueueType};
use api::temporal::api::taskqueue::v1 as messages;
use api::temporal::api::workflowservice::v1 as wire;
use api::temporal::api::workflowservice::v1::describe_task_queue_response::EffectiveRateLimit;
use calls::{CallContext, QueueName, ServiceError, ServiceResult, TaskQueueKind};
use ids::Timestamp;
use taskqueue::{BacklogStats, Input, PerPriority, PriorityLevel, Reply};

use crate::kind::ShardError;
use crate::partition::PartitionName;
use crate::queues::not_owner;
use crate::service::Core;

/// How long a rate limit that held something up is reported as active.
const RATE_LIMIT_SHOWN: std::time::Duration = std::time::Duration::from_secs(30);

/// What is known of a queue at a moment.
#[derive(Default)]
struct QueueDescription {
    pollers: Vec<messages::PollerInfo>,
    waiting: PerPriority<u64>,
    oldest: PerPriority<Option<Timestamp>>,
    added_per_second: f32,
    dispatched_per_second: f32,
    is_rate_limited: bool,
    rate: Option<f64>,
    partitions: u32,
}

impl Core {
    pub(crate) async fn describe_task_queue(
        self: &Arc<Self>,
        ctx: &CallContext,
        request: wire::DescribeTaskQueueRequest,
    ) -> ServiceResult<wire::DescribeTaskQueueResponse> {
        let asked = request.task_queue.clone().unwrap_or_default();
        if asked.name.is_empty() {
            return Err(ServiceError::InvalidArgument("task_queue.name is empty".to_owned()));
        }
        let is_sticky = asked.kind == WireKind::Sticky as i32;
        let name = |kind| QueueName { namespace: ctx.namespace.id.clone(), name: asked.name.clone(), kind };
        self.check_served(&name(TaskQueueKind::Workflow))?;
        if request.api_mode == DescribeTaskQueueMode::Enhanced as i32 {
            return self.describe_by_version(&request, name).await;
        }
        let kind = match TaskQueueType::try_from(request.task_queue_type) {
            Ok(TaskQueueType::Activity) => TaskQueueKind::Activity,
            Ok(TaskQueueType::Nexus) => TaskQueueKind::Nexus,
            Ok(_) if is_sticky => TaskQueueKind::StickyWorkflow,
            Ok(_) => TaskQueueKind::Workflow,
            Err(_) => {
                let value = request.task_queue_type;
                return Err(ServiceError::InvalidArgument(format!(
                    "task_queue_type {value} is not a type of task queue"
                )));
            }
        };
        let description =
            self.describe_queue(name(kind), request.report_stats || request.include_task_queue_status).await?;
        let now = self.runtime.now();
        let mut response = wire::DescribeTaskQueueResponse::default();
        if request.report_stats {
            response.stats = Some(description.stats(now));
            response.stats_by_priority_key = description.stats_by_level(now);
        }
        if let Some(rate) = description.rate {
            response.effective_rate_limit = Some(EffectiveRateLimit {
                requests_per_second: rate as f32,
                rate_limit_source: RateLimitSource::Worker as i32,
            });
        }
        #[allow(deprecated, reason = "clients still ask for it")]
        if request.include_task_queue_status {
            response.task_queue_status = Some(messages::TaskQueueStatus {
                backlog_count_hint: description.total(),
                rate_per_second: description.rate.unwrap_or_default(),
                ..Default::default()
            });
        }
        response.pollers = description.pollers;
        Ok(response)
    }

    /// The deprecated mode, by version: here all workers are unversioned.
    #[allow(deprecated, reason = "clients still ask this way")]
    async fn describe_by_version(
        self: &Arc<Self>,
        request: &wire::DescribeTaskQueueRequest,
        name: impl Fn(TaskQueueKind) -> QueueName,
    ) -> ServiceResult<wire::DescribeTaskQueueResponse> {
        let mut types_info = BTreeMap::new();
        let unless_named = [TaskQueueType::Workflow as i32, TaskQueueType::Activity as i32];
        let wanted = match &request.task_queue_types[..] {
            [] => &unless_named[..],
            named => named,
        };
        for (kind, number) in [
            (TaskQueueKind::Workflow, TaskQueueType::Workflow as i32),
            (TaskQueueKind::Activity, TaskQueueType::Activity as i32),
            (TaskQueueKind::Nexus, TaskQueueType::Nexus as i32),
        ] {
            if !wanted.contains(&number) {
                continue;
            }
            let description = self.describe_queue(name(kind), request.report_stats).await?;
            let stats = request.report_stats.then(|| description.stats(self.runtime.now()));
            let pollers = if request.report_pollers { description.pollers } else { Vec::new() };
            types_info.insert(number, messages::TaskQueueTypeInfo { pollers, stats });
        }
        let unversioned = messages::TaskQueueVersionInfo { types_info, ..Default::default() };
        let versions_info = BTreeMap::from([(String::new(), unversioned)]);
        Ok(wire::DescribeTaskQueueResponse { versions_info, ..Default::default() })
    }

    async fn describe_queue(self: &Arc<Self>, name: QueueName, with_backlog: bool) -> ServiceResult<QueueDescription> {
        let now = self.runtime.now();
        let mut description = QueueDescription { partitions: self.settings.partitions, ..Default::default() };
        if let Some(queue) = self.find_queue(&name) {
            let mut state = queue.lock();
            let recent = state.recent.within(self.settings.poller_history, now);
            description.pollers = recent.iter().map(|(at, poller)| poller_info(*at, poller)).collect();
            description.waiting = state.queue.offers_waiting();
            description.added_per_second = state.added.per_second(now);
            description.dispatched_per_second = state.dispatched.per_second(now);
            description.is_rate_limited =
                state.queue.last_throttled().is_some_and(|at| now.since(at) < RATE_LIMIT_SHOWN);
            description.rate = state.queue.rate();
            description.partitions = state.queue.partitions();
        }
        if with_backlog && name.kind.is_durable() {
            for number in 0..description.partitions {
                let stats = self.backlog_stats(&PartitionName { queue: name.clone(), number }).await?;
                for level in PriorityLevel::all() {
                    description.waiting[level] += stats.waiting[level];
                    let oldest = [description.oldest[level], stats.oldest[level]];
                    description.oldest[level] = oldest.into_iter().flatten().min();
                }
            }
        }
        Ok(description)
    }

    /// How much waits in a partition's backlog.
    pub(crate) async fn backlog_stats(&self, partition: &PartitionName) -> ServiceResult<BacklogStats> {
        match self.partitions.call(&partition.key(), Input::Describe).await {
            Ok(Reply::Stats(stats)) => Ok(stats),
            Ok(other) => Err(ServiceError::Internal(format!("unexpected reply to describing a backlog: {other:?}"))),
            Err(ShardError::Quarantined(reason)) => Err(ServiceError::DataLoss(reason)),
            Err(ShardError::NotOwner) => Err(not_owner(&partition.queue)),
            Err(error) => Err(ServiceError::Unavailable(format!("cannot describe the backlog: {error}"))),
        }
    }
}

impl QueueDescription {
    fn total(&self) -> i64 {
        let total = PriorityLevel::all().fold(0u64, |total, level| total.saturating_add(self.waiting[level]));
        i64::try_from(total).unwrap_or(i64::MAX)
    }

    fn stats(&self, now: Timestamp) -> messages::TaskQueueStats {
        let oldest = PriorityLevel::all().filter_map(|level| self.oldest[level]).min();
        messages::TaskQueueStats {
            approximate_backlog_count: self.total(),
            approximate_backlog_age: Some(age(oldest, now)),
            tasks_add_rate: self.added_per_second,
            tasks_dispatch_rate: self.dispatched_per_second,
            rate_limiting_active: self.is_rate_limited,
        }
    }

    /// Priority levels with tasks. Rates are not counted by level.
    fn stats_by_level(&self, now: Timestamp) -> BTreeMap<i32, messages::TaskQueueStats> {
        let in_use = PriorityLevel::all().filter(|level| self.waiting[*level] > 0);
        let stats = in_use.map(|level| {
            let stats = messages::TaskQueueStats {
                approximate_backlog_count: i64::try_from(self.waiting[level]).unwrap_or(i64::MAX),
                approximate_backlog_age: Some(age(self.oldest[level], now)),
                ..Default::default()
            };
            (i32::from(level.number()), stats)
        });
        stats.collect()
    }
}

fn age(oldest: Option<Timestamp>, now: Timestamp) -> prost_types::Duration {
    let age = oldest.map(|at| now.since(at)).unwrap_or_default();
    prost_types::Duration {
        seconds: i64::try_from(age.as_secs()).unwrap_or(i64::MAX),
        nanos: age.subsec_nanos() as i32,
    }
}

#[allow(deprecated, reason = "clients still read it")]
fn poller_info(at: Timestamp, poller: &crate::observed::PollerDescription) -> messages::PollerInfo {
    let (seconds, nanos) = at.seconds_and_nanos();
    messages::PollerInfo {
        last_access_time: Some(prost_types::Timestamp { seconds, nanos }),
        identity: poller.identity.clone(),
        rate_per_second: poller.rate.unwrap_or_default(),
        worker_version_capabilities: poller.capabilities.clone(),
        deployment_options: poller.deployment.clone(),
    }
}
