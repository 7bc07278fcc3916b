//! Whom a call is meant for, and whether that is this process.
//!
//! A peer is called at an address, and an address may be another process's by now: a name that is looked up from an old
//! entry, a machine's address that was given to the next one. That node may own a shard of the same number, in a cluster
//! of its own. So each call names its callee, and no other process carries it out.

use std::sync::Arc;

use cluster::{Membership, NodeId, Ring};
use internal_api::calls as proto;
use tokio::sync::watch;
use tonic::Status;

/// The identity of this process, for its callers.
#[derive(Clone)]
pub struct Identity {
    node: NodeId,
    ring: watch::Receiver<Arc<Ring>>,
    incarnation: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Identity {
    /// Runs as `node` in the cluster whose rings `membership` publishes. `incarnation` gives this process's own, 0 until
    /// it has one: what a ring says about `node` may already be about its successor.
    #[must_use]
    pub fn new(
        membership: &Arc<dyn Membership>,
        node: NodeId,
        incarnation: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { node, ring: membership.ring(), incarnation: Arc::new(incarnation) }
    }

    /// Whether a call is meant for this process.
    ///
    /// # Errors
    /// What becomes `NotOwner` with the caller: [`is_elsewhere`] if its connection is useless, else a status that says
    /// that the ring of one of the two is older.
    pub(crate) fn admit(&self, header: Option<&proto::Header>) -> Result<(), Status> {
        let Some(callee) = header.and_then(|header| header.callee.as_ref()) else { return Ok(()) };
        let incarnation = (self.incarnation)();
        let ring = self.ring.borrow();
        if incarnation == 0 || ring.version == 0 {
            return Err(Status::unavailable(format!("node {} has not joined its cluster yet", self.node)));
        }
        if callee.cluster_id != ring.cluster_id || callee.node != self.node.as_str() {
            let (node, cluster) = (&self.node, &ring.cluster_id);
            tracing::debug!(call = ?callee, "refused a call: it is meant for another node");
            return Err(Status::failed_precondition(format!("this is node {node} of cluster {cluster:?}")));
        }
        if callee.incarnation != incarnation {
            return Err(Status::unavailable(format!("this is incarnation {incarnation} of node {}", self.node)));
        }
        Ok(())
    }
}

/// Whether a call was refused because its connection leads to another node than its caller means. No service says so.
pub(crate) fn is_elsewhere(status: &Status) -> bool {
    status.code() == tonic::Code::FailedPrecondition
}

#[cfg(test)]
mod tests {
    use cluster::FixedRing;
    use prost::Message;

    use super::*;

    const CLUSTER: &str = "0f4c2a5e-9c7e-4d0e-8a53-1f0d8f1b7c11";

    fn identity(version: u64, incarnation: u64) -> Identity {
        let node = NodeId::new("history-1");
        let ring = Ring { version, cluster_id: CLUSTER.to_owned(), ..Ring::alone(&node, 4, 1) };
        let membership: Arc<dyn Membership> = Arc::new(FixedRing::new(ring));
        Identity::new(&membership, node, move || incarnation)
    }

    fn call(cluster_id: &str, node: &str, incarnation: u64) -> proto::Header {
        let callee = proto::Callee { cluster_id: cluster_id.to_owned(), node: node.to_owned(), incarnation };
        proto::Header { callee: Some(callee), ..proto::Header::default() }
    }

    #[tokio::test]
    async fn only_calls_for_this_very_process_are_let_in() {
        let seventh = identity(3, 7);
        assert!(seventh.admit(Some(&call(CLUSTER, "history-1", 7))).is_ok());
        assert!(seventh.admit(Some(&proto::Header::default())).is_ok(), "a release that does not name its callee");
        for (cluster, node, incarnation, elsewhere) in [
            ("another", "history-1", 7, true),
            ("", "history-1", 7, true),
            (CLUSTER, "history-2", 7, true),
            (CLUSTER, "history-1", 6, false),
            (CLUSTER, "history-1", 8, false),
            (CLUSTER, "history-1", 0, false),
        ] {
            let refused = seventh.admit(Some(&call(cluster, node, incarnation))).unwrap_err();
            assert_eq!(is_elsewhere(&refused), elsewhere, "{cluster} {node} {incarnation}: {refused}");
        }
        for not_joined in [identity(3, 0), identity(0, 7)] {
            for incarnation in [0, 7] {
                let refused = not_joined.admit(Some(&call(CLUSTER, "history-1", incarnation))).unwrap_err();
                assert!(!is_elsewhere(&refused), "it may be the one that is meant, soon");
            }
        }
    }

    #[test]
    fn saying_whom_a_call_is_meant_for_takes_little_room() {
        let bytes = call(CLUSTER, "history-1", 1000).encoded_len();
        assert!(bytes < 64, "{bytes} bytes with every call");
    }
}
