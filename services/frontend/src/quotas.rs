//! How much at a time: request rates of the instance and of each namespace, and polls that wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cluster::{ResourceExhaustedCause, ServiceError, ServiceResult};
use ids::{NamespaceId, Timestamp};
use settings::QuotaSettings;

/// Calls that wait, each counted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    /// PollWorkflowTaskQueue.
    WorkflowTask,
    /// PollActivityTaskQueue.
    ActivityTask,
    /// GetWorkflowExecutionHistory that waits.
    History,
}

const POLLS: usize = 3;

/// The quotas of one frontend.
pub(crate) struct Quotas {
    settings: QuotaSettings,
    instance: Bucket,
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
        Self { instance: Bucket::new(settings.instance_rps), settings, namespaces: RwLock::default() }
    }

    /// Admits one request to this instance.
    pub(crate) fn admit(&self, now: Timestamp) -> ServiceResult<()> {
        if self.instance.take(now) {
            return Ok(());
        }
        Err(ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::SystemOverloaded,
            message: format!("this frontend takes {} requests per second, try again", self.settings.instance_rps),
        })
    }

    /// Admits one request to a namespace.
    pub(crate) fn admit_to(&self, namespace: &NamespaceId, name: &str, now: Timestamp) -> ServiceResult<()> {
        if self.namespace(namespace).requests.take(now) {
            return Ok(());
        }
        Err(ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::RpsLimit,
            message: format!(
                "namespace {name:?} may make {} requests per second, try again",
                self.settings.namespace_rps
            ),
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
        })
    }

    fn namespace(&self, id: &NamespaceId) -> Arc<NamespaceQuota> {
        if let Some(quota) = self.namespaces.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Arc::clone(quota);
        }
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        let quota = namespaces.entry(id.clone()).or_insert_with(|| {
            Arc::new(NamespaceQuota { requests: Bucket::new(self.settings.namespace_rps), waiting: Default::default() })
        });
        Arc::clone(quota)
    }
}

/// A token bucket that holds two seconds' worth.
struct Bucket {
    per_second: f64,
    level: Mutex<Level>,
}

struct Level {
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    fn new(per_second: f64) -> Self {
        let level = Level { tokens: 2.0 * per_second, at: Timestamp::EPOCH };
        Self { per_second, level: Mutex::new(level) }
    }

    fn take(&self, now: Timestamp) -> bool {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.since(level.at).as_secs_f64() * self.per_second;
        level.tokens = (level.tokens + gained).min(2.0 * self.per_second);
        // A clock that was set back must not stop the refill until it has caught up.
        level.at = now;
        if level.tokens < 1.0 {
            return false;
        }
        level.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quotas(rps: f64, polls: usize) -> Quotas {
        Quotas::new(QuotaSettings { instance_rps: rps, namespace_rps: rps, waiting_polls: polls })
    }

    #[test]
    fn a_namespace_may_burst_for_two_seconds_worth_and_then_goes_at_its_rate() {
        let quotas = quotas(10.0, 1);
        let (namespace, start) = (NamespaceId::new("n"), Timestamp::from_millis(50_000));
        let admitted = |at| (0..100).take_while(|_| quotas.admit_to(&namespace, "n", at).is_ok()).count();
        assert_eq!(admitted(start), 20);
        assert_eq!(admitted(start + Duration::from_millis(500)), 5);
        let refused = quotas.admit_to(&namespace, "orders", start).unwrap_err();
        assert_eq!(
            refused,
            ServiceError::ResourceExhausted {
                cause: ResourceExhaustedCause::RpsLimit,
                message: "namespace \"orders\" may make 10 requests per second, try again".to_owned(),
            }
        );
        assert_eq!(quotas.admit_to(&NamespaceId::new("other"), "other", start), Ok(()));
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
            }
        );
        assert!(wait(Poll::ActivityTask).is_ok());
        drop(first);
        assert!(wait(Poll::WorkflowTask).is_ok());
    }
}
