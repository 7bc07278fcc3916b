//! When a voter begins and ends to lead.

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Leadership, proposing::propose_all};
use crate::command::{Command, Standing};
use crate::raft_group::{Metrics, raft_id};
use crate::settings::FEATURE_LEVEL;
use crate::voter::Shared;

/// How often the leader looks whether it still leads.
const LEADERSHIP_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How often the leader checks which voters the state should name.
const NAMING: Duration = Duration::from_secs(1);
/// A new leader's first leases are this many times as long: everyone has to find it first.
const FIRST_LEASES: u32 = 2;

/// Runs a term of leadership each time Raft elects this voter. Never returns.
pub(crate) async fn run_leader(shared: Arc<Shared>, leadership: watch::Sender<Option<Leadership>>) {
    let mut last_term = 0;
    while !shared.stopped.is_cancelled() {
        let metrics = shared.raft.metrics().borrow().clone();
        if let Err(error) = &metrics.running_state {
            tracing::error!(%error, "this voter has stopped");
            shared.broken.send_replace(Some(error.to_string()));
            return;
        }
        report(&shared, &metrics);
        if !leads(&shared, &metrics) || shared.raft.ensure_linearizable().await.is_err() {
            shared.runtime.sleep(LEADERSHIP_CHECK_INTERVAL / 2).await;
            continue;
        }
        if metrics.current_term != last_term {
            last_term = metrics.current_term;
            metrics::counter!("outlast_membership_leader_changes_total").increment(1);
        }
        serve_term(&shared, &leadership, metrics.current_term).await;
    }
}

/// Whether this voter leads and has lately heard from a quorum, by Raft's last metrics.
fn leads(shared: &Shared, metrics: &Metrics) -> bool {
    let silence = u64::try_from(shared.timings.leader_silence.as_millis()).unwrap_or(u64::MAX);
    metrics.state == ServerState::Leader && metrics.millis_since_quorum_ack.is_some_and(|millis| millis < silence)
}

/// Whether Raft still does anything. While its disk hangs it reports nothing new, and so seems to lead for ever.
async fn is_alive(shared: &Shared) -> bool {
    let answer = shared.raft.with_raft_state(|_| ());
    matches!(shared.runtime.timeout(shared.timings.leader_silence, answer).await, Some(Ok(())))
}

async fn serve_term(shared: &Arc<Shared>, place: &watch::Sender<Option<Leadership>>, term: u64) {
    tracing::info!(voter = shared.identities.node, term, "this voter became leader");
    let (proposals, inbox) = mpsc::channel(256);
    let leadership = Leadership {
        ended: CancellationToken::new(),
        proposals,
        sessions: Arc::default(),
        machine: shared.machine.clone(),
        runtime: shared.runtime.clone(),
        timings: shared.timings.clone(),
    };
    let ended = leadership.ended.clone();
    let queue = propose_all(shared.raft.clone(), inbox, shared.runtime.clone(), shared.timings.clone());
    let ended_queue = ended.clone();
    shared.runtime.spawn(async move { ended_queue.run_until_cancelled(queue).await });

    let (by, of) = (Arc::clone(shared), leadership.clone());
    let opening = ended.clone();
    let place_taken = place.clone();
    shared.runtime.spawn(async move { opening.run_until_cancelled(open(by, of, place_taken)).await });

    loop {
        shared.runtime.sleep(LEADERSHIP_CHECK_INTERVAL).await;
        let alive = is_alive(shared).await;
        let metrics = shared.raft.metrics().borrow().clone();
        report(shared, &metrics);
        if !alive || shared.stopped.is_cancelled() || metrics.current_term != term || !leads(shared, &metrics) {
            tracing::info!(voter = shared.identities.node, term, alive, "this voter lost leadership");
            break;
        }
    }
    place.send_replace(None);
    ended.cancel();
}

/// What a leader does first: form the cluster if that has not happened, and give every node a lease.
async fn open(shared: Arc<Shared>, leadership: Leadership, place: watch::Sender<Option<Leadership>>) {
    if !shared.machine.look(|state| state.formed()) {
        let cluster = &shared.identities.cluster;
        let form = Command::Form {
            cluster_id: shared.runtime.uuid(),
            cluster_name: cluster.name.clone(),
            history_shards: cluster.history_shards,
            matching_shards: cluster.matching_shards,
            feature_level: FEATURE_LEVEL,
        };
        if leadership.propose(form).await.is_err() {
            return;
        }
        tracing::info!(cluster_id = shared.identities.cluster_id(), "the cluster is formed");
    }
    let nodes = shared.machine.look(|state| state.nodes.iter().map(|(id, n)| (id.clone(), n.incarnation)).collect());
    let nodes: Vec<(String, u64)> = nodes;
    for (node, incarnation) in nodes {
        let leadership = leadership.clone();
        let lease = shared.timings.lease * FIRST_LEASES;
        let generation = leadership.expect_session(&node);
        let ended = leadership.ended.clone();
        shared.runtime.spawn(async move {
            ended.run_until_cancelled(leadership.wait_for_return(&node, incarnation, generation, lease)).await
        });
    }
    place.send_replace(Some(leadership.clone()));
    loop {
        name_voters(&shared, &leadership).await;
        leadership.prune_removed();
        shared.runtime.sleep(NAMING).await;
    }
}

/// Names new voters in the state, and removes those that are gone: the leader that removed one may not
/// have come to that.
async fn name_voters(shared: &Shared, leadership: &Leadership) {
    // A voter that is being added is named before Raft has it, and one that is being removed is dropped after.
    let Ok(_unchanging) = shared.changing_voters.try_lock() else { return };
    let membership = shared.raft.metrics().borrow().membership_config.clone();
    let named: Vec<String> = shared.machine.look(|state| state.voters.keys().cloned().collect());
    for id in named.into_iter().filter(|id| membership.membership().get_node(&raft_id(id)).is_none()) {
        drop(leadership.propose(Command::VoterGone { id }).await);
    }
    let own = (shared.identities.node.clone(), shared.identities.uuid.clone());
    let unknown = shared.machine.look(|state| !state.voters.contains_key(&own.0));
    let first_seen = shared.identities.unnamed().into_iter();
    for (id, uuid) in unknown.then_some(own).into_iter().chain(first_seen) {
        if let Some(peer) = membership.membership().get_node(&raft_id(&id)) {
            let command = Command::Voter { id, uuid, address: peer.address.clone() };
            drop(leadership.propose(command).await);
        }
    }
}

fn report(shared: &Shared, metrics: &Metrics) {
    let leading = metrics.state == ServerState::Leader;
    metrics::gauge!("outlast_membership_leading").set(if leading { 1.0 } else { 0.0 });
    let (version, standings) = shared
        .machine
        .look(|state| (state.ring_version, state.nodes.values().map(|node| node.standing).collect::<Vec<_>>()));
    metrics::gauge!("outlast_membership_ring_version", "seen_by" => "voter").set(version as f64);
    for (name, standing) in [("joining", Standing::Joining), ("up", Standing::Up), ("draining", Standing::Draining)] {
        let count = standings.iter().filter(|of| **of == standing).count();
        metrics::gauge!("outlast_membership_nodes", "state" => name).set(count as f64);
    }
}
