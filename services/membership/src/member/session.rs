//! A node's session with the leader, renewed for as long as the node lives.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use internal_api::membership::{
    FromNode, Heartbeat, Hello, NodeDescription, RefusalReason, Refused, ToNode, Welcome, from_node, to_node,
};
use runtime::Backoff;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Inner, JoinError, JoinRefusal, Progress};
use crate::clock_offset::{ClockOffset, reading};
use crate::leader_search::{Leader, find_leader};
use crate::session::now_ms;
use crate::settings::FEATURE_LEVEL;

/// For so many leases a node waits for another process under its name to be found dead.
const TAKEN_GRACE_LEASES: u32 = 3;

/// How a session ended.
enum End {
    /// Look for the leader again.
    Again(String),
    /// The leader rejected it.
    Refused(Refused),
}

/// Keeps a session open, reconnecting after each failure. Returns when the node cannot have one any more.
pub(super) async fn maintain_session(inner: Arc<Inner>) {
    let timings = &inner.settings.timings;
    let runtime = inner.runtime.clone();
    let lease = timings.lease * TAKEN_GRACE_LEASES;
    let mut taken = None;
    let mut warned = None;
    let mut backoff = Backoff::new(timings.retry_backoff, timings.retry_backoff * 5);
    loop {
        let found = find_leader(&inner.runtime, timings, &inner.settings.seeds, &inner.calls.voters()).await;
        let end = match found {
            Ok(leader) => run_session(&inner, leader).await,
            Err(errors) => End::Again(errors.join("; ")),
        };
        inner.calls.note_leader(None);
        let joined = inner.incarnation.load(Ordering::Relaxed) > 0;
        let had_session = *inner.progress.borrow() == Progress::Connected;
        warned = warned.filter(|_| !had_session);
        match end {
            End::Again(why) => {
                taken = None;
                disconnected(&inner, joined, why);
            }
            End::Refused(refused) => match refused.reason() {
                // The leader sees the old process's death within its lease.
                RefusalReason::NodeIdTaken if !joined => {
                    let (timer, wait) = (runtime.clone(), lease);
                    let since = taken.get_or_insert_with(|| runtime.spawn(async move { timer.sleep(wait).await }));
                    if since.is_finished() {
                        inner.progress.send_replace(failed(JoinRefusal::NodeIdTaken, refused.message));
                        return;
                    }
                    disconnected(&inner, joined, refused.message);
                }
                RefusalReason::NodeIdTaken => return inner.replaced(refused.message),
                reason => match fatal(reason) {
                    Some(reason) if !joined => {
                        inner.progress.send_replace(failed(reason, refused.message));
                        return;
                    }
                    reason => {
                        if should_log(reason, &mut warned) {
                            let (node, why) = (inner.settings.node.as_str(), &refused.message);
                            tracing::warn!(node, why, "the cluster rejected this node");
                        }
                        disconnected(&inner, joined, refused.message);
                    }
                },
            },
        }
        // All look for the leader at once when it has died, so the delays grow a little.
        if had_session {
            backoff.reset();
        }
        inner.runtime.sleep(backoff.next_delay()).await;
    }
}

/// Whether to log that a member is rejected: once for each reason.
fn should_log(reason: Option<JoinRefusal>, warned: &mut Option<JoinRefusal>) -> bool {
    reason.is_some() && std::mem::replace(warned, reason) != reason
}

fn disconnected(inner: &Inner, joined: bool, why: String) {
    tracing::debug!(node = inner.settings.node.as_str(), why, "no session with membership's leader");
    inner.progress.send_replace(if joined { Progress::Disconnected(why) } else { Progress::Joining(why) });
}

fn failed(reason: JoinRefusal, message: String) -> Progress {
    Progress::Failed(JoinError::Refused { reason, message })
}

/// What is not worth trying again.
fn fatal(reason: RefusalReason) -> Option<JoinRefusal> {
    match reason {
        RefusalReason::WrongCluster => Some(JoinRefusal::WrongCluster),
        RefusalReason::OtherShardCounts => Some(JoinRefusal::OtherShardCounts),
        RefusalReason::ClockDiffers => Some(JoinRefusal::ClockDiffers),
        RefusalReason::FeatureLevel => Some(JoinRefusal::FeatureLevel),
        RefusalReason::Invalid => Some(JoinRefusal::Invalid),
        RefusalReason::NodeIdTaken
        | RefusalReason::NotLeader
        | RefusalReason::Replaced
        | RefusalReason::Expired
        | RefusalReason::Unavailable
        | RefusalReason::UnknownNode
        | RefusalReason::Unspecified => None,
    }
}

fn hello(inner: &Inner, leader: &Leader) -> Hello {
    let settings = &inner.settings;
    let wanted = *inner.wanted();
    Hello {
        cluster_name: settings.cluster.name.clone(),
        cluster_id: inner.ring.borrow().cluster_id.clone(),
        history_shards: settings.cluster.history_shards,
        matching_shards: settings.cluster.matching_shards,
        feature_level: FEATURE_LEVEL,
        node: Some(NodeDescription {
            id: settings.node.as_str().to_owned(),
            process: inner.process.clone(),
            incarnation: inner.incarnation.load(Ordering::Relaxed),
            roles: settings.roles.iter().map(|role| role.name().to_owned()).collect(),
            address: settings.address.clone(),
            zone: settings.zone.clone(),
            weight: settings.weight,
            takes_part: wanted.takes_part,
            draining: wanted.draining,
        }),
        clock: Some(leader.clock),
    }
}

/// One session, from hello to its end.
async fn run_session(inner: &Inner, leader: Leader) -> End {
    let timings = &inner.settings.timings;
    let (out, stream) = mpsc::channel(4);
    let first = FromNode { message: Some(from_node::Message::Hello(hello(inner, &leader))) };
    if out.try_send(first).is_err() {
        return End::Again("the session's stream is closed".to_owned());
    }
    let mut client = leader.client.clone();
    let opened = inner.runtime.timeout(timings.call_timeout, client.session(ReceiverStream::new(stream))).await;
    let mut inbound = match opened {
        None => return End::Again(format!("{}: no session within {:?}", leader.address, timings.call_timeout)),
        Some(Err(status)) => return End::Again(format!("{}: {}", leader.address, status.message())),
        Some(Ok(response)) => response.into_inner(),
    };
    // A registration is a write to Raft, and may wait for others.
    let answer = inner.runtime.timeout(timings.call_timeout * 3, inbound.message()).await;
    match answer {
        Some(Ok(Some(ToNode { message: Some(to_node::Message::Welcome(welcome)) }))) => {
            accept_welcome(inner, &leader, &welcome);
        }
        Some(Ok(Some(ToNode { message: Some(to_node::Message::Refused(refused)) }))) => return End::Refused(refused),
        Some(Err(status)) => return End::Again(format!("{}: {}", leader.address, status.message())),
        Some(Ok(_)) | None => return End::Again(format!("{}: the hello had no answer", leader.address)),
    }
    serve_session(inner, &mut inbound, &out).await
}

fn accept_welcome(inner: &Inner, leader: &Leader, welcome: &Welcome) {
    let node = inner.settings.node.as_str();
    tracing::info!(node, incarnation = welcome.incarnation, leader = leader.address, "joined membership's leader");
    inner.incarnation.store(welcome.incarnation, Ordering::Relaxed);
    inner.calls.note_leader(Some(leader.client.clone()));
    if let Some(ring) = &welcome.ring {
        inner.publish(ring);
    }
    inner.progress.send_replace(Progress::Connected);
}

/// Heartbeats out, rings in.
async fn serve_session(inner: &Inner, inbound: &mut Streaming<ToNode>, out: &mpsc::Sender<FromNode>) -> End {
    let offset = std::sync::Mutex::new(ClockOffset::default());
    let asked = std::sync::Mutex::new((0u64, 0i64));
    let locked = |offset: &std::sync::Mutex<ClockOffset>| {
        offset.lock().unwrap_or_else(std::sync::PoisonError::into_inner).best()
    };
    let beating = async {
        for number in 1.. {
            let clock = locked(&offset);
            if let Some(clock) = clock {
                inner.clock_offset_ms.store(clock.offset_ms, Ordering::Relaxed);
            }
            *asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = (number, now_ms(&inner.runtime));
            let beat = from_node::Message::Heartbeat(Heartbeat { number, clock });
            if out.send(FromNode { message: Some(beat) }).await.is_err() {
                break;
            }
            inner.runtime.sleep(inner.settings.timings.heartbeat).await;
        }
        End::Again("the session's stream has broken".to_owned())
    };
    let hearing = async {
        let silence = inner.settings.timings.leader_silence;
        loop {
            match inner.runtime.timeout(silence, inbound.message()).await {
                None => return End::Again(format!("the leader was silent for {silence:?}")),
                Some(Err(status)) => return End::Again(status.message().to_owned()),
                Some(Ok(None)) => return End::Again("the leader ended the session".to_owned()),
                Some(Ok(Some(ToNode { message }))) => match message {
                    Some(to_node::Message::Ring(ring)) => drop(inner.publish(&ring)),
                    Some(to_node::Message::HeartbeatSeen(seen)) => {
                        inner.calls.note_voters(&seen.voter_addresses);
                        let (number, at) = *asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        if number == seen.number {
                            let reading = reading(at, now_ms(&inner.runtime), seen.now_ms);
                            offset.lock().unwrap_or_else(std::sync::PoisonError::into_inner).note(reading);
                        }
                    }
                    Some(to_node::Message::Refused(refused)) => return End::Refused(refused),
                    Some(to_node::Message::Welcome(_)) | None => (),
                },
            }
        }
    };
    tokio::select! {
        end = beating => end,
        end = hearing => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_kept_out_says_so_once_for_each_reason() {
        let mut warned = None;
        let mut logs = |reason| should_log(reason, &mut warned);
        assert!(logs(Some(JoinRefusal::ClockDiffers)));
        assert!(!logs(Some(JoinRefusal::ClockDiffers)), "it has been logged");
        assert!(!logs(None), "what passes by itself is not worth a warning");
        assert!(logs(Some(JoinRefusal::WrongCluster)));
    }
}
