//! Which cluster a store belongs to. The first process that has joined writes the cluster's id into the store, and
//! nodes that join later find it there. Two clusters on one store, or one cluster on two, would take the shards from
//! each other for ever.

use bytes::Bytes;
use cluster::{NodeId, NodeState, Ring};
use storage::{CompareAndSet, Registry, StorageError};

/// The row from which frontends read the cluster id that they return. Servers without a cluster draw it.
const ROW: &str = "cluster/id";

/// Why a store is not this cluster's.
#[derive(Debug, thiserror::Error)]
pub enum StoreOwnerError {
    /// It is another's.
    #[error(
        "this store belongs to the cluster with id {stored:?}, and this node has joined the one with id {joined:?}: check \
         the keyspace or file under `store`, and `membership.seeds` or `membership.initial_voters`; if the former is \
         gone for good, `cluster.takes_over` set to its id gives its store to the latter"
    )]
    Another {
        /// The id in the store.
        stored: String,
        /// The id of the cluster that the node has joined.
        joined: String,
    },
    /// It has no owner, so the cluster, which has begun its work, has another store.
    #[error(
        "this store belongs to no cluster, and in the one with id {joined:?} {others} serve already, so theirs is another \
         store: check the keyspace or file under `store`"
    )]
    NotTheirs {
        /// The id of the cluster that the node has joined.
        joined: String,
        /// Nodes that take part.
        others: String,
    },
    /// The registry.
    #[error("cannot check which cluster owns the store: {0}")]
    Storage(#[from] StorageError),
}

/// Makes sure that the store belongs to the cluster of `ring`, before `node` takes part in it. A store of the cluster with
/// the id `takes_over` is taken from that. After [`StorageError::Unknown`] it may be called again.
pub(crate) async fn claim(
    registry: &dyn Registry,
    ring: &Ring,
    node: &NodeId,
    takes_over: Option<&str>,
) -> Result<(), StoreOwnerError> {
    let joined = &ring.cluster_id;
    loop {
        let entry = registry.get(ROW).await?;
        let stored = entry.as_ref().map(|entry| String::from_utf8_lossy(&entry.value));
        match stored.as_deref() {
            Some(stored) if stored == joined => return Ok(()),
            Some(stored) if takes_over != Some(stored) => {
                return Err(StoreOwnerError::Another { stored: stored.to_owned(), joined: joined.clone() });
            }
            Some(stored) => tracing::warn!(stored, joined, "this cluster takes over another cluster's store"),
            None => none_serves_yet(ring, node)?,
        }
        let version = entry.map_or(0, |entry| entry.version);
        match registry.compare_and_set(ROW, version, Some(Bytes::from(joined.clone()))).await {
            CompareAndSet::Applied => return Ok(()),
            // Another process was quicker: read again.
            CompareAndSet::Conflict => {}
            CompareAndSet::Unknown => return Err(StorageError::Unknown(format!("whether {ROW} is written")).into()),
        }
    }
}

/// A node that serves has claimed a store before.
fn none_serves_yet(ring: &Ring, node: &NodeId) -> Result<(), StoreOwnerError> {
    let others = ring.nodes.values().filter(|other| other.id != *node && other.state != NodeState::Joining);
    let others: Vec<&str> = others.map(|other| other.id.as_str()).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(StoreOwnerError::NotTheirs { joined: ring.cluster_id.clone(), others: others.join(", ") })
}

#[cfg(test)]
mod tests {
    use storage::fault::{FaultPlan, Faults, FaultyStore, Method};
    use storage::memory::MemoryStore;

    use super::*;

    fn ring(cluster_id: &str) -> Ring {
        Ring { version: 1, cluster_id: cluster_id.to_owned(), ..Ring::alone(&NodeId::new("a"), 4, 1) }
    }

    #[tokio::test]
    async fn the_first_cluster_of_a_store_keeps_it() {
        let store = MemoryStore::new().store();
        let claim = async |id, takes_over| {
            claim(store.registry.as_ref(), &ring(id), &NodeId::new("a"), takes_over).await.map_err(|e| e.to_string())
        };
        assert_eq!(claim("one", None).await, Ok(()));
        assert_eq!(claim("one", None).await, Ok(()));
        let refused = claim("two", None).await.unwrap_err();
        assert!(refused.starts_with("this store belongs to the cluster with id \"one\""), "{refused}");
        assert!(refused.contains("joined the one with id \"two\": check the keyspace"), "{refused}");
        assert!(claim("two", Some("three")).await.is_err());
        assert_eq!(claim("two", Some("one")).await, Ok(()));
        assert!(claim("one", None).await.is_err(), "it has been taken over");
        assert_eq!(claim("two", Some("one")).await, Ok(()), "what was once set may stay");
    }

    #[tokio::test]
    async fn a_cluster_at_work_has_a_store_so_that_an_unclaimed_one_is_not_its() {
        let store = MemoryStore::new().store();
        let claim = async |ring: &Ring| claim(store.registry.as_ref(), ring, &NodeId::new("b"), None).await;
        let mut at_work = ring("one");
        let refused = claim(&at_work).await.unwrap_err().to_string();
        assert!(
            refused.starts_with("this store belongs to no cluster, and in the one with id \"one\" a serve"),
            "{refused}"
        );
        at_work.nodes.values_mut().for_each(|node| node.state = NodeState::Joining);
        assert!(claim(&at_work).await.is_ok(), "no node serves yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_may_have_happened_may_be_repeated() {
        let failing = Faults { fail_after_effect: 1.0, ..Faults::default() };
        for seed in 0..20 {
            let plan = FaultPlan::new(seed).on(Method::CompareAndSet, failing);
            let registry = FaultyStore::wrap(MemoryStore::new().store(), plan).store().registry;
            let claim = async || claim(registry.as_ref(), &ring("one"), &NodeId::new("a"), None).await;
            let first = claim().await;
            assert!(matches!(first, Err(StoreOwnerError::Storage(StorageError::Unknown(_)))), "{first:?}");
            assert!(claim().await.is_ok());
        }
    }
}
