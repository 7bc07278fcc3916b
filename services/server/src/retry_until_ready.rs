//! Waiting at start for a store that is slow or away: databases and servers are often started together.

use std::time::Duration;

use calls::ServiceError;
use runtime::{Backoff, Runtime};
use storage::StorageError;

use crate::server::StartError;
use crate::shard_numbers::ShardNumberError;
use crate::store_owner::StoreOwnerError;

/// How long a start goes on trying.
const WITHIN: Duration = Duration::from_secs(60);
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// Tries until it works, or fails in a way that trying again does not mend, or for too long.
pub(crate) async fn retry_until_ready<T>(
    runtime: &Runtime,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, StartError>,
) -> Result<T, StartError> {
    let (until, mut backoff) = (runtime.now() + WITHIN, BACKOFF);
    loop {
        match attempt().await {
            Err(error) if may_pass(&error) && runtime.now() < until => {
                tracing::warn!(%error, "{what} failed, retrying");
                runtime.sleep(backoff.next_delay()).await;
            }
            outcome => return outcome,
        }
    }
}

fn may_pass(error: &StartError) -> bool {
    match error {
        StartError::ShardNumber(ShardNumberError::Storage(error))
        | StartError::StoreOwner(StoreOwnerError::Storage(error)) => {
            matches!(error, StorageError::Unavailable { .. } | StorageError::Exhausted(_) | StorageError::Unknown(_))
        }
        StartError::Frontend(frontend::StartError::Registry(error))
        | StartError::Namespaces(error)
        | StartError::Namespace { source: error, .. } => {
            matches!(error, ServiceError::Unavailable(_) | ServiceError::ResourceExhausted { .. })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use storage::fault::{FaultPlan, Faults, FaultyStore};
    use storage::memory::MemoryStore;

    use super::*;
    use crate::shard_numbers;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_at_first_is_waited_for_and_a_wrong_number_is_not() {
        let runtime = Runtime::virtual_from(ids::Timestamp::from_millis(1_000_000));
        let failing = Faults { fail: 0.4, fail_after_effect: 0.2, ..Faults::default() };
        let plan = FaultPlan::new(7).everywhere(failing);
        let registry = FaultyStore::wrap(MemoryStore::new().store(), plan).store().registry;
        let check = |wanted: u32| {
            let registry = Arc::clone(&registry);
            let runtime = runtime.clone();
            async move {
                let attempt = async || Ok(shard_numbers::check(registry.as_ref(), "history", wanted).await?);
                retry_until_ready(&runtime, "opening shards", attempt).await
            }
        };
        assert!(check(4).await.is_ok());
        let refused = check(8).await.unwrap_err();
        assert!(refused.to_string().contains("this store has 4 history shards"), "{refused}");
    }
}
