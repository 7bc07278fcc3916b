//! The leader's side of a node's session: admission, heartbeats in, rings out.

use std::sync::Arc;

use cluster::{NodeId, Ring};
use internal_api::membership::{
    ClockReading, FromNode, HeartbeatSeen, Hello, RefusalReason, Refused, ToNode, Welcome, from_node, to_node,
};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use crate::command::{Command, Registration, Reply, Standing};
use crate::leadership::{Leadership, Probe};
use crate::voter::Shared;
use crate::wire::{refused, ring_message};

type Outbound = mpsc::Sender<Result<ToNode, Status>>;

/// A node with an open session.
struct Admitted {
    node: String,
    incarnation: u64,
    generation: u64,
}

fn message(message: to_node::Message) -> Result<ToNode, Status> {
    Ok(ToNode { message: Some(message) })
}

/// Serves a session until it ends, then closes it.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    leadership: Leadership,
    mut inbound: Streaming<FromNode>,
    out: Outbound,
) {
    let hello = shared.runtime.timeout(shared.timings.call_timeout, inbound.message()).await;
    let Some(Ok(Some(FromNode { message: Some(from_node::Message::Hello(hello)) }))) = hello else {
        let why = refused(RefusalReason::Invalid, "a session begins with a hello");
        drop(out.send(message(to_node::Message::Refused(why))).await);
        return;
    };
    match admit(&shared, &leadership, &hello).await {
        Err(refused) => {
            tracing::info!(node = hello.node.as_ref().map(|node| &*node.id), why = refused.message, "rejected a node");
            drop(out.send(message(to_node::Message::Refused(refused))).await);
        }
        Ok(admitted) => {
            let alive = listen(&shared, &leadership, &admitted, &mut inbound, &out).await;
            if alive {
                let (node, incarnation) = (admitted.node, admitted.incarnation);
                leadership.close_session(&node, incarnation, admitted.generation).await;
            }
        }
    }
}

/// Whether a node may have a session; if so it is registered.
async fn admit(shared: &Shared, leadership: &Leadership, hello: &Hello) -> Result<Admitted, Refused> {
    let wanted = check(shared, hello)?;
    let known = shared.machine.look(|state| state.nodes.get(&wanted.id).cloned());
    let mut replaces = None;
    let incarnation = match known {
        Some(known) if known.process != wanted.process => {
            let gone = !leadership.session_of(&wanted.id).connected
                && (known.address == wanted.address || leadership.probe(&known.address).await == Probe::Refuses);
            if !gone {
                return Err(refused(
                    RefusalReason::NodeIdTaken,
                    format!("node id {:?} is taken by a live process at {}", wanted.id, known.address),
                ));
            }
            replaces = Some(known.incarnation);
            None
        }
        Some(known) => {
            let same = known.roles == wanted.roles
                && known.address == wanted.address
                && known.zone == wanted.zone
                && known.weight == wanted.weight
                && known.feature_level == wanted.feature_level
                && known.standing >= wanted.standing;
            same.then_some(known.incarnation)
        }
        None => None,
    };
    let node = wanted.id.clone();
    let incarnation = match incarnation {
        Some(incarnation) => incarnation,
        None => match leadership.propose(Command::Register { node: wanted, replaces }).await? {
            Reply::Registered { incarnation } => incarnation,
            Reply::Done | Reply::Refused { .. } => {
                return Err(refused(RefusalReason::Unavailable, "the registration had no answer"));
            }
        },
    };
    let generation = leadership.open_session(&node, hello.clock);
    Ok(Admitted { node, incarnation, generation })
}

/// What does not depend on other nodes.
fn check(shared: &Shared, hello: &Hello) -> Result<Registration, Refused> {
    let cluster = &shared.identities.cluster;
    let cluster_id = shared.identities.cluster_id();
    if hello.cluster_name != cluster.name {
        let message =
            format!("this is cluster {:?}, the node is configured for {:?}", cluster.name, hello.cluster_name);
        return Err(refused(RefusalReason::WrongCluster, message));
    }
    if !hello.cluster_id.is_empty() && hello.cluster_id != cluster_id {
        let message = format!("this is the cluster with id {cluster_id:?}, the node belongs to {:?}", hello.cluster_id);
        return Err(refused(RefusalReason::WrongCluster, message));
    }
    let counts = [
        ("history_shards", hello.history_shards, cluster.history_shards),
        ("matching_shards", hello.matching_shards, cluster.matching_shards),
    ];
    for (what, theirs, ours) in counts {
        if theirs != ours {
            let message = format!("cluster.{what} is {theirs} at the node; the cluster was formed with {ours}");
            return Err(refused(RefusalReason::OtherShardCounts, message));
        }
    }
    let Some(node) = hello.node.as_ref().filter(|node| !node.id.is_empty() && !node.process.is_empty()) else {
        return Err(refused(RefusalReason::Invalid, "the node has no id"));
    };
    let level = shared.machine.look(|state| (state.feature_level, state.too_old(&node.id, hello.feature_level)));
    if hello.feature_level < level.0 {
        return Err(refused(RefusalReason::FeatureLevel, level.1));
    }
    // A member is not thrown out for its clock, nor by a new leader whose own is wrong.
    let member =
        shared.machine.look(|state| state.nodes.get(&node.id).is_some_and(|known| known.process == node.process));
    if let Some(clock) = hello.clock.filter(|clock| !member && differs(shared, clock)) {
        let message = format!(
            "the clock of node {:?} differs from the leader's by {} ms (give or take {} ms): at most {} ms are accepted",
            node.id,
            -clock.offset_ms,
            clock.uncertainty_ms,
            shared.timings.max_clock_difference.as_millis()
        );
        return Err(refused(RefusalReason::ClockDiffers, message));
    }
    Ok(Registration {
        id: node.id.clone(),
        process: node.process.clone(),
        incarnation: node.incarnation,
        roles: node.roles.iter().cloned().collect(),
        address: node.address.clone(),
        zone: node.zone.clone(),
        weight: node.weight,
        feature_level: hello.feature_level,
        standing: match (node.draining, node.takes_part) {
            (true, _) => Standing::Draining,
            (false, true) => Standing::Up,
            (false, false) => Standing::Joining,
        },
    })
}

/// Whether two clocks certainly differ by more than is accepted.
fn differs(shared: &Shared, clock: &ClockReading) -> bool {
    let certain = clock.offset_ms.unsigned_abs().saturating_sub(clock.uncertainty_ms.unsigned_abs());
    u128::from(certain) > shared.timings.max_clock_difference.as_millis()
}

/// Serves a session. True when the node's lease is still open at its end.
async fn listen(
    shared: &Shared,
    leadership: &Leadership,
    admitted: &Admitted,
    inbound: &mut Streaming<FromNode>,
    out: &Outbound,
) -> bool {
    let mut ring = shared.machine.ring();
    let first = ring.borrow_and_update().clone();
    if !contains(&first, admitted) {
        drop(out.send(expired()).await);
        return false;
    }
    let welcome =
        Welcome { incarnation: admitted.incarnation, ring: Some(ring_message(&first, voter_addresses(shared))) };
    if out.send(message(to_node::Message::Welcome(welcome))).await.is_err() {
        return true;
    }
    // Two loops, so that a ring on its way out does not prolong the lease.
    tokio::select! {
        biased;
        () = leadership.ended.cancelled() => {
            drop(out.try_send(message(to_node::Message::Refused(not_leader(shared)))));
            false
        }
        () = shared.stopped.cancelled() => false,
        open = receive_all(shared, leadership, admitted, inbound, out) => open,
        open = send_rings(shared, admitted, ring, out) => open,
    }
}

fn contains(ring: &Ring, admitted: &Admitted) -> bool {
    let node = ring.nodes.get(&NodeId::new(admitted.node.as_str()));
    node.is_some_and(|node| node.incarnation == admitted.incarnation)
}

/// The message to a node that is alive after all: it may register again.
fn expired() -> Result<ToNode, Status> {
    let why = refused(RefusalReason::Expired, "the node is not a member any more");
    message(to_node::Message::Refused(why))
}

/// Sends each ring, or the newest when the node is slow to read, until the node is not in it.
async fn send_rings(
    shared: &Shared,
    admitted: &Admitted,
    mut ring: watch::Receiver<Arc<Ring>>,
    out: &Outbound,
) -> bool {
    while ring.changed().await.is_ok() {
        let Ok(room) = out.reserve().await else { return true };
        let newest = ring.borrow_and_update().clone();
        if !contains(&newest, admitted) {
            room.send(expired());
            return false;
        }
        room.send(message(to_node::Message::Ring(ring_message(&newest, voter_addresses(shared)))));
    }
    false
}

async fn receive_all(
    shared: &Shared,
    leadership: &Leadership,
    admitted: &Admitted,
    inbound: &mut Streaming<FromNode>,
    out: &Outbound,
) -> bool {
    loop {
        match receive(shared, inbound).await {
            Received::Heartbeat { number, clock } => {
                let seen =
                    HeartbeatSeen { number, now_ms: now_ms(&shared.runtime), voter_addresses: voter_addresses(shared) };
                // A node that does not read its answers gets none.
                drop(out.try_send(message(to_node::Message::HeartbeatSeen(seen))));
                if let Some(clock) = clock {
                    note_clock(shared, leadership, admitted, clock);
                }
            }
            Received::Silence if !leadership.has_session(&admitted.node, admitted.generation) => return false,
            Received::Silence => {
                leadership.expire(&admitted.node, admitted.incarnation, "was silent").await;
                return false;
            }
            Received::End => return true,
        }
    }
}

enum Received {
    Heartbeat { number: u64, clock: Option<ClockReading> },
    Silence,
    End,
}

/// The next from a node. A leader that was itself stopped for a while finds the lease over and the heartbeats waiting, so
/// it waits a little longer before it takes a node for silent.
async fn receive(shared: &Shared, inbound: &mut Streaming<FromNode>) -> Received {
    let lease = shared.timings.lease;
    let mut heard = shared.runtime.timeout(lease, inbound.message()).await;
    if heard.is_none() {
        heard = shared.runtime.timeout(lease / 10, inbound.message()).await;
    }
    match heard {
        None => Received::Silence,
        Some(Ok(Some(FromNode { message: Some(from_node::Message::Heartbeat(beat)) }))) => {
            Received::Heartbeat { number: beat.number, clock: beat.clock }
        }
        Some(Ok(Some(_))) => Received::Heartbeat { number: 0, clock: None },
        Some(Ok(None) | Err(_)) => Received::End,
    }
}

/// A member whose clock goes wrong keeps its shards: leases do not depend on clocks, and a leader whose own clock is wrong
/// must not empty the cluster.
fn note_clock(shared: &Shared, leadership: &Leadership, admitted: &Admitted, clock: ClockReading) {
    let gauge = metrics::gauge!("outlast_membership_clock_offset_seconds", "node" => admitted.node.clone());
    gauge.set(clock.offset_ms as f64 / 1000.0);
    let before = leadership.session_of(&admitted.node).clock;
    if differs(shared, &clock) && before.is_none_or(|before| !differs(shared, &before)) {
        tracing::warn!(node = admitted.node, offset_ms = clock.offset_ms, "a node's clock differs from the leader's");
    }
    leadership.note_clock(&admitted.node, clock);
}

/// Where the voters are.
pub(crate) fn voter_addresses(shared: &Shared) -> Vec<String> {
    let metrics = shared.raft.metrics().borrow().clone();
    metrics.membership_config.nodes().map(|(_, peer)| peer.address.clone()).collect()
}

/// Refers a caller to the leader, if this voter knows it.
pub(crate) fn not_leader(shared: &Shared) -> Refused {
    Refused {
        reason: RefusalReason::NotLeader.into(),
        message: format!("voter {:?} does not lead", shared.identities.node),
        leader_address: leader_address(shared),
    }
}

/// Where the leader is, as far as this voter knows; empty if it does not.
pub(crate) fn leader_address(shared: &Shared) -> String {
    let metrics = shared.raft.metrics().borrow().clone();
    let leader = metrics.current_leader.and_then(|id| metrics.membership_config.membership().get_node(&id).cloned());
    leader.map(|peer| peer.address).unwrap_or_default()
}

/// The wall clock here, to compare clocks: nothing else is the same for all processes.
pub(crate) fn now_ms(runtime: &runtime::Runtime) -> i64 {
    let since = runtime.wall().since(ids::Timestamp::EPOCH);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
