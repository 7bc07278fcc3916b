//! What the frontend keeps in the registry, and how it gets there when a store may answer "it may have happened".

use bytes::Bytes;
use calls::{ServiceError, ServiceResult};
use runtime::Runtime;
use std::time::Duration;
use storage::{CompareAndSet, Registry, RegistryEntry, StorageError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Tries of one write whose outcome stays unknown, before the caller gets an error to retry.
const TRIES: u32 = 5;

/// How long to wait before a listing that failed is tried again.
const REFRESH_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Between two listings because of changes: many changes in a row cost a listing each interval.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);

/// Calls `refresh` after changes of the registry, until `gone` or until it has nothing to refresh any more. A change after
/// a while without any is followed at once, others within the interval.
pub(crate) async fn refresh_after_changes<F: Future<Output = ServiceResult<()>>>(
    mut changes: watch::Receiver<u64>,
    gone: CancellationToken,
    runtime: Runtime,
    refresh: impl Fn() -> Option<F>,
) {
    loop {
        tokio::select! {
            () = gone.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        changes.mark_unchanged();
        let Some(refreshing) = refresh() else { return };
        if let Err(error) = refreshing.await {
            tracing::warn!(%error, "namespaces may be out of date, retrying");
            runtime.sleep(REFRESH_RETRY_DELAY).await;
            changes.mark_changed();
        } else {
            runtime.sleep(REFRESH_INTERVAL).await;
        }
    }
}

/// How a [`write_once`] ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Written {
    /// The value is stored, by this call.
    Ours,
    /// The key has another version; nothing of ours is stored. Holds what is there now.
    Theirs(Option<RegistryEntry>),
}

/// Stores `value` under `key` if its version is still `expected`, resolving "it may have happened" by looking. Values
/// must be unique to their write (a fresh id inside) or the same from every writer.
pub(crate) async fn write_once(
    registry: &dyn Registry,
    runtime: &Runtime,
    key: &str,
    expected: u64,
    value: Bytes,
) -> ServiceResult<Written> {
    for tried in 0..TRIES {
        match registry.compare_and_set(key, expected, Some(value.clone())).await {
            CompareAndSet::Applied => return Ok(Written::Ours),
            CompareAndSet::Conflict | CompareAndSet::Unknown => {}
        }
        match registry.get(key).await {
            Ok(Some(entry)) if entry.version == expected + 1 && entry.value == value => return Ok(Written::Ours),
            // Still as it was: the write did not happen, or has not yet. The next try settles it either way.
            Ok(Some(entry)) if entry.version == expected => {}
            Ok(None) if expected == 0 => {}
            Ok(other) => return Ok(Written::Theirs(other)),
            Err(StorageError::Unavailable { .. }) => {}
            Err(error) => return Err(unavailable(error)),
        }
        runtime.sleep(Duration::from_millis(10 << tried)).await;
    }
    Err(ServiceError::Unavailable(format!("storing {key:?} in the registry has an unknown outcome, try again")))
}

/// A storage error as callers see it. Reads have no effect, so that "it may have happened" is a reason to try again.
pub(crate) fn unavailable(error: StorageError) -> ServiceError {
    match error {
        StorageError::Corrupt(_) => ServiceError::DataLoss(error.to_string()),
        StorageError::Invalid(_) => ServiceError::Internal(error.to_string()),
        StorageError::Unavailable { .. } | StorageError::Exhausted(_) | StorageError::Unknown(_) => {
            ServiceError::Unavailable(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use ids::Timestamp;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_changes_in_a_row_cost_one_refresh_in_each_interval() {
        let runtime = Runtime::virtual_from(Timestamp::from_millis(1_000_000));
        let (changed, changes) = watch::channel(0);
        let (refreshed, gone) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let counted = Arc::clone(&refreshed);
        let refresh = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Some(async { Ok(()) })
        };
        let following = runtime.spawn(refresh_after_changes(changes, gone.clone(), runtime.clone(), refresh));
        // Two seconds, and a change in each of their milliseconds.
        for number in 1..=2000 {
            changed.send_replace(number);
            runtime.sleep(Duration::from_millis(1)).await;
        }
        let after_burst = refreshed.load(Ordering::Relaxed);
        assert!((4..=5).contains(&after_burst), "{after_burst}");
        runtime.sleep(Duration::from_secs(10)).await;
        assert_eq!(refreshed.load(Ordering::Relaxed), after_burst + 1, "the last change is followed, and nothing else");
        gone.cancel();
        following.await.unwrap();
    }
}
