//! The queue of proposals.

use runtime::Runtime;
use settings::MembershipSettings;
use tokio::sync::mpsc;

use super::Proposal;
use crate::command::Batch;
use crate::raft_group::Raft;

/// The most commands in one entry. Count.
const MOST: usize = 256;

/// Proposes what comes, until the term ends. After each entry the next waits for the rest of the ring's interval, so a
/// single change never waits.
pub(super) async fn propose_all(
    raft: Raft,
    mut inbox: mpsc::Receiver<Proposal>,
    runtime: Runtime,
    timings: MembershipSettings,
) {
    let mut gap = None;
    while let Some(first) = inbox.recv().await {
        if let Some(gap) = gap.take() {
            let _ended: Result<(), tokio::task::JoinError> = gap.await;
        }
        let mut proposals = vec![first];
        while proposals.len() < MOST
            && let Ok(next) = inbox.try_recv()
        {
            proposals.push(next);
        }
        let batch = Batch { commands: proposals.iter().map(|proposal| proposal.command.clone()).collect() };
        match raft.client_write(batch).await {
            Ok(written) => {
                for (proposal, reply) in proposals.into_iter().zip(written.data.0) {
                    drop(proposal.reply.send(reply));
                }
            }
            // Dropping the senders gives their callers an unknown outcome.
            Err(error) => tracing::debug!(%error, "a Raft proposal failed"),
        }
        let (pause, interval) = (runtime.clone(), timings.ring_interval);
        gap = Some(runtime.spawn(async move { pause.sleep(interval).await }));
    }
}
