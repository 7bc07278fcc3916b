//! The membership of a node that has not joined yet.
//!
//! Services and listeners are built before the node joins, since the others must be able to reach it as soon as they hear
//! of it. Until then there is a ring without nodes, in which nobody owns anything.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use cluster::{Membership, Ring, ServiceError, ServiceResult};
use runtime::Runtime;
use tokio::sync::watch;

/// Publishes the empty ring, and from [`LateMembership::join`] on the rings of another.
pub(crate) struct LateMembership {
    ring: watch::Sender<Arc<Ring>>,
    joined: OnceLock<Arc<dyn Membership>>,
}

impl LateMembership {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { ring: watch::Sender::new(Arc::new(Ring::default())), joined: OnceLock::new() })
    }

    /// From now on the rings are those of `membership`. Only the first call counts.
    pub(crate) fn join(self: &Arc<Self>, membership: Arc<dyn Membership>, runtime: &Runtime) {
        let mut rings = membership.ring();
        if self.joined.set(membership).is_err() {
            return;
        }
        rings.mark_changed();
        let to = Arc::downgrade(self);
        runtime.spawn(async move {
            while rings.changed().await.is_ok() {
                let Some(to) = to.upgrade() else { return };
                let ring = Arc::clone(&rings.borrow_and_update());
                to.publish(ring);
            }
        });
    }

    fn publish(&self, ring: Arc<Ring>) {
        self.ring.send_if_modified(|known| {
            // The same version may come again without this node's shards, when another process has taken its place.
            let is_news = ring.version >= known.version && *ring != **known;
            if is_news {
                *known = ring;
            }
            is_news
        });
    }
}

#[async_trait]
impl Membership for LateMembership {
    fn ring(&self) -> watch::Receiver<Arc<Ring>> {
        self.ring.subscribe()
    }

    async fn confirm(&self) -> ServiceResult<Arc<Ring>> {
        let Some(joined) = self.joined.get() else {
            return Err(ServiceError::Unavailable("this node has not joined the cluster yet".to_owned()));
        };
        let ring = joined.confirm().await?;
        self.publish(Arc::clone(&ring));
        Ok(ring)
    }
}

#[cfg(test)]
mod tests {
    use cluster::{FixedRing, NodeId};

    use super::*;

    #[tokio::test]
    async fn whoever_watched_before_the_node_joined_hears_of_the_ring() {
        let late = LateMembership::new();
        let mut rings = late.ring();
        assert_eq!(rings.borrow_and_update().version, 0);
        assert!(late.confirm().await.is_err());

        let ring = Ring::alone(&NodeId::new("a"), 2, 1);
        late.join(Arc::new(FixedRing::new(ring.clone())), &Runtime::system());
        rings.changed().await.unwrap();
        assert_eq!(**rings.borrow_and_update(), ring);
        assert_eq!(late.confirm().await.unwrap().version, 1);
    }
}
