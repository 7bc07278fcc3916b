//! How the process is, for its health endpoints.

use std::sync::{Arc, Weak};

use cluster::{Membership, Sharded};
use telemetry::health::{HealthBoard, PartState};

use crate::services::Services;

/// Has the board query membership and shards for their states.
pub(crate) fn show(board: &HealthBoard, membership: &Arc<dyn Membership>, services: &Arc<Services>) {
    let rings = membership.ring();
    let joined = move || rings.borrow().version > 0;
    let has_joined = joined.clone();
    board.ask("membership", move || match has_joined() {
        true => PartState::Ready,
        false => PartState::Starting("not joined yet".to_owned()),
    });
    for service in [Sharded::History, Sharded::Matching] {
        if services.unserved(service).is_some() {
            let (services, joined) = (Arc::downgrade(services), joined.clone());
            board.ask(service.name(), move || standing(&services, service, joined()));
        }
    }
}

fn standing(services: &Weak<Services>, service: Sharded, joined: bool) -> PartState {
    match services.upgrade().and_then(|services| services.unserved(service)) {
        _ if !joined => PartState::Starting("no ring is known yet".to_owned()),
        None => PartState::NotReady("it has ended".to_owned()),
        Some(0) => PartState::Ready,
        Some(unserved) => PartState::NotReady(format!("{unserved} of this node's shards are not served yet")),
    }
}
