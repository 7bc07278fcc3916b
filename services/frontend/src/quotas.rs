//! How much at a time: request rates of the instance and of each namespace, and polls that wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use calls::{ResourceExhaustedCause, ServiceError, ServiceResult};
use ids::{NamespaceId, Timestamp};
use settings::QuotaSettings;

/// Calls that wait, each counted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    /// PollWorkflowTaskQueue.
    WorkflowTask,
    /// PollActivityTaskQueue.
    ActivityTask,
    /// PollNexusTaskQueue.
    NexusTask,
    /// GetWorkflowExecutionHistory that waits.
    History,
    /// UpdateWorkflowExecution, PollWorkflowExecutionUpdate and ExecuteMultiOperation.
    Update,
}

const POLLS: usize = 5;

/// What a poll beyond the bound is to wait. Polls end with a task or after a minute, so of many some end each second.
const PLACE_TIMEOUT: Duration = Duration::from_secs(1);

/// The quotas of one frontend.
pub(crate) struct Quotas {
    settings: QuotaSettings,
    instance: Bucket,
    namespace_changes: Bucket,
    namespaces: RwLock<HashMap<NamespaceId, Arc<NamespaceQuota>>>,
}

struct NamespaceQuota {
    requests: Bucket,
    waiting: [AtomicUsize; POLLS],
}

/// Holds one of a namespace's places for polls until dropped.
pub(crate) struct PollPlace {
    quota: Arc<NamespaceQuota>,
    poll: Poll,
}

impl Drop for PollPlace {
    fn drop(&mut self) {
        self.quota.waiting[self.poll as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Quotas {
    /// Full buckets.
    pub(crate) fn new(settings: QuotaSettings) -> Self {
        let instance = Bucket::of_two_seconds(settings.instance_rps);
        let namespace_changes = Bucket::new(settings.namespace_changes_rps, settings.namespace_changes_burst);
        Self { instance, namespace_changes, settings, namespaces: RwLock::default() }
    }

    /// Admits one request to this instance.
    pub(crate) fn admit(&self, now: Timestamp) -> ServiceResult<()> {
        self.instance.take(now).map_err(|wait| ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::SystemOverloaded,
            message: format!("this frontend takes {} requests per second, try again", self.settings.instance_rps),
            retry_after: Some(wait),
        })
    }

    /// Admits a request that creates or changes a namespace: every process of the cluster follows each change.
    pub(crate) fn admit_namespace_change(&self, now: Timestamp) -> ServiceResult<()> {
        self.namespace_changes.take(now).map_err(|wait| ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::SystemOverloaded,
            message: format!(
                "this frontend registers or updates {} namespaces per second, {} in a burst, try again",
                self.settings.namespace_changes_rps, self.settings.namespace_changes_burst
            ),
            retry_after: Some(wait),
        })
    }

    /// Admits one request to a namespace.
    pub(crate) fn admit_to(&self, namespace: &NamespaceId, name: &str, now: Timestamp) -> ServiceResult<()> {
        self.namespace(namespace).requests.take(now).map_err(|wait| ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::RpsLimit,
            message: format!(
                "namespace {name:?} may make {} requests per second, try again",
                self.settings.namespace_rps
            ),
            retry_after: Some(wait),
        })
    }

    /// A place for a poll that waits.
    pub(crate) fn wait(&self, namespace: &NamespaceId, name: &str, poll: Poll) -> ServiceResult<PollPlace> {
        let quota = self.namespace(namespace);
        let before = quota.waiting[poll as usize].fetch_add(1, Ordering::Relaxed);
        let place = PollPlace { quota, poll };
        if before < self.settings.waiting_polls {
            return Ok(place);
        }
        Err(ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::ConcurrentLimit,
            message: format!(
                "namespace {name:?} has {before} polls of this kind waiting, {} are allowed",
                self.settings.waiting_polls
            ),
            retry_after: Some(PLACE_TIMEOUT),
        })
    }

    fn namespace(&self, id: &NamespaceId) -> Arc<NamespaceQuota> {
        if let Some(quota) = self.namespaces.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Arc::clone(quota);
        }
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let quota = namespaces.entry(id.clone()).or_insert_with(|| {
            Arc::new(NamespaceQuota {
                requests: Bucket::of_two_seconds(self.settings.namespace_rps),
                waiting: Default::default(),
            })
        });
        Arc::clone(quota)
    }
}

/// The longest wait that a bucket asks for. No rate needs a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A token bucket that holds a burst. A refused caller gets the time of the next token that no other was refused for
/// before: callers that were refused together do not come back together.
pub(crate) struct Bucket {
    per_second: f64,
    burst: f64,
    level: Mutex<Level>,
}

struct Level {
    tokens: f64,
    /// Tokens to come that refused callers were referred to.
    promised: f64,
    at: Timestamp,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        let level = Level { tokens: burst, promised: 0.0, at: Timestamp::EPOCH };
        Self { per_second, burst, level: Mutex::new(level) }
    }

    /// A bucket of two seconds' worth.
    fn of_two_seconds(per_second: f64) -> Self {
        Self::new(per_second, 2.0 * per_second)
    }

    /// Takes a token, or returns how long to wait for one.
    pub(crate) fn take(&self, now: Timestamp) -> Result<(), Duration> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.since(level.at).as_secs_f64() * self.per_second;
        level.tokens = (level.tokens + gained).min(self.burst);
        level.promised = (level.promised - gained).max(0.0);
        // A clock that was set back must not stop the refill until it has caught up.
        level.at = now;
        if level.tokens >= 1.0 {
            level.tokens -= 1.0;
            return Ok(());
        }
        let seconds = (1.0 - level.tokens + level.promised) / self.per_second;
        // No caller is referred to more than a burst to come.
        level.promised = (level.promised + 1.0).min(self.burst);
        Err(Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(rps: f64, polls: usize) -> Quotas {
        let settings = QuotaSettings::default();
        Quotas::new(QuotaSettings { instance_rps: rps, namespace_rps: rps, waiting_polls: polls, ..settings })
    }

    #[test]
    fn a_namespace_may_burst_for_two_seconds_worth_and_then_goes_at_its_rate() {
        let quotas = quotas(10.0, 1);
        let (namespace, start) = (NamespaceId::new("n"), Timestamp::from_millis(50_000));
        let admitted = |at| (0..100).take_while(|_| quotas.admit_to(&namespace, "n", at).is_ok()).count();
        assert_eq!(admitted(start), 20);
        assert_eq!(admitted(start + Duration::from_millis(500)), 5);
        let refused = quotas.admit_to(&namespace, "orders", start + Duration::from_millis(500)).unwrap_err();
        assert_eq!(
            refused,
            ServiceError::ResourceExhausted {
                cause: ResourceExhaustedCause::RpsLimit,
                message: "namespace \"orders\" may make 10 requests per second, try again".to_owned(),
                // The one before it was referred to the token in 100 ms.
                retry_after: Some(Duration::from_millis(200)),
            }
        );
        assert_eq!(quotas.admit_to(&NamespaceId::new("other"), "other", start), Ok(()));
    }

    #[test]
    fn a_bucket_returns_the_wait_until_a_token_is_there_and_refers_each_to_one_of_its_own() {
        let bucket = Bucket::new(4.0, 2.0);
        let (start, ms) = (Timestamp::from_millis(50_000), Duration::from_millis);
        assert_eq!([bucket.take(start), bucket.take(start)], [Ok(()), Ok(())]);
        assert_eq!([bucket.take(start), bucket.take(start)], [Err(ms(250)), Err(ms(500))]);
        assert_eq!(bucket.take(start + ms(100)), Err(ms(150 + 400)), "two tokens are promised, less what has come");
        for _ in 0..100 {
            assert!(
                bucket.take(start + ms(100)) <= Err(ms(150 + 500)),
                "no caller is referred to more than a burst to come"
            );
        }
        assert_eq!(bucket.take(start + ms(250)), Ok(()), "a promise is no reservation");
        assert_eq!(Bucket::new(0.0, 0.0).take(start), Err(LONGEST_WAIT));
    }

    #[test]
    fn waiting_polls_are_bounded_by_kind_and_places_come_back() {
        let quotas = quotas(10.0, 2);
        let namespace = NamespaceId::new("n");
        let wait = |poll| quotas.wait(&namespace, "n", poll);
        let (first, _second) = (wait(Poll::WorkflowTask).unwrap(), wait(Poll::WorkflowTask).unwrap());
        let refused = wait(Poll::WorkflowTask).err().unwrap();
        assert_eq!(
            refused,
            ServiceError::ResourceExhausted {
                cause: ResourceExhaustedCause::ConcurrentLimit,
                message: "namespace \"n\" has 2 polls of this kind waiting, 2 are allowed".to_owned(),
                retry_after: Some(Duration::from_secs(1)),
            }
        );
        assert!(wait(Poll::ActivityTask).is_ok());
        drop(first);
        assert!(wait(Poll::WorkflowTask).is_ok());
    }
}
