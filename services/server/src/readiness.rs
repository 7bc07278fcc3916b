//! Posts how the process is, for its health endpoints.

use std::sync::Weak;
use std::time::Duration;

use cluster::{Membership, Sharded};
use health::{HealthBoard, PartState};
use runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::LateMembership;
use crate::services::Services;

/// How often the posts are renewed.
const EVERY: Duration = Duration::from_millis(200);

/// Renews what the board says of membership and shards until `stopped`.
pub(crate) async fn keep_posted(
    board: HealthBoard,
    membership: Weak<LateMembership>,
    services: Weak<Services>,
    stopped: CancellationToken,
    runtime: Runtime,
) {
    while let (Some(membership), Some(services)) = (membership.upgrade(), services.upgrade()) {
        let joined = membership.ring().borrow().version > 0;
        board.set(
            "membership",
            if joined { PartState::Ready } else { PartState::Starting("not joined yet".to_owned()) },
        );
        for service in [Sharded::History, Sharded::Matching] {
            if let Some(unserved) = services.unserved(service) {
                board.set(service.name(), standing(unserved, joined));
            }
        }
        drop((membership, services));
        tokio::select! {
            () = stopped.cancelled() => return,
            () = runtime.sleep(EVERY) => {}
        }
    }
}

fn standing(unserved: usize, joined: bool) -> PartState {
    match (joined, unserved) {
        (false, _) => PartState::Starting("no ring is known yet".to_owned()),
        (true, 0) => PartState::Ready,
        (true, unserved) => PartState::NotReady(format!("{unserved} of this node's shards are not served yet")),
    }
}
