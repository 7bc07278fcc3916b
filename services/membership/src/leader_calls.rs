//! Calls that only the leader answers, repeated until it does.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use internal_api::membership::membership_client::MembershipClient;
use internal_api::membership::{RefusalReason, Refused};
use runtime::Runtime;
use settings::MembershipSettings;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::leader_search::find_leader;

/// Why a call to the leader failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// The node that was meant is not a member (any more).
    #[error("{0}")]
    UnknownNode(String),
    /// No leader answered in time. The call may have taken effect all the same; a retry does no harm.
    #[error("{0}")]
    Unavailable(String),
}

/// A connection to a voter.
pub(crate) type Client = MembershipClient<Channel>;

/// The way to the leader. Clones share what they know.
#[derive(Clone)]
pub(crate) struct LeaderCalls {
    pub(crate) runtime: Runtime,
    pub(crate) timings: MembershipSettings,
    pub(crate) seeds: Vec<String>,
    knowledge: Arc<Mutex<Knowledge>>,
}

#[derive(Default)]
struct Knowledge {
    voters: BTreeSet<String>,
    leader: Option<MembershipClient<Channel>>,
}

impl LeaderCalls {
    pub(crate) fn new(runtime: Runtime, timings: MembershipSettings, seeds: Vec<String>) -> Self {
        Self { runtime, timings, seeds, knowledge: Arc::default() }
    }

    fn knowledge(&self) -> MutexGuard<'_, Knowledge> {
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where voters are, besides the seeds.
    pub(crate) fn voters(&self) -> BTreeSet<String> {
        self.knowledge().voters.clone()
    }

    /// Takes note of where the cluster says its voters are.
    pub(crate) fn note_voters(&self, addresses: &[String]) {
        if !addresses.is_empty() {
            self.knowledge().voters = addresses.iter().cloned().collect();
        }
    }

    /// Records the leader; `None` when its leadership has ended.
    pub(crate) fn note_leader(&self, leader: Option<MembershipClient<Channel>>) {
        self.knowledge().leader = leader;
    }

    async fn leader(&self) -> Result<MembershipClient<Channel>, String> {
        let known = self.knowledge().leader.clone();
        if let Some(leader) = known {
            return Ok(leader);
        }
        match find_leader(&self.runtime, &self.timings, &self.seeds, &self.voters()).await {
            Ok(leader) => {
                self.note_leader(Some(leader.client.clone()));
                Ok(leader.client)
            }
            Err(errors) => Err(format!("no leader was found: {}", errors.join("; "))),
        }
    }

    /// Calls the leader, following redirects, until there is an answer; each attempt takes at most `each`.
    ///
    /// # Errors
    /// The refusal, or that the time ran out.
    pub(crate) async fn call<A, F>(
        &self,
        each: std::time::Duration,
        ask: impl Fn(MembershipClient<Channel>) -> F,
        refusal: impl Fn(&A) -> Option<&Refused>,
    ) -> Result<A, CallError>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let last = Mutex::new("no voter has been called yet".to_owned());
        let note = |what: String| *last.lock().unwrap_or_else(PoisonError::into_inner) = what;
        let attempts = async {
            loop {
                match self.leader().await {
                    Err(why) => note(why),
                    Ok(client) => match self.runtime.timeout(each, ask(client)).await {
                        None => note(format!("the leader did not answer within {each:?}")),
                        Some(Err(status)) => note(status.message().to_owned()),
                        Some(Ok(answer)) => {
                            let answer = answer.into_inner();
                            match refusal(&answer) {
                                None => return Ok(answer),
                                Some(refused) => match refused.reason() {
                                    RefusalReason::NotLeader | RefusalReason::Unavailable => {
                                        note(refused.message.clone());
                                    }
                                    RefusalReason::UnknownNode => {
                                        return Err(CallError::UnknownNode(refused.message.clone()));
                                    }
                                    _ => return Err(CallError::Refused(refused.message.clone())),
                                },
                            }
                        }
                    },
                }
                self.note_leader(None);
                self.runtime.sleep(self.timings.retry_backoff).await;
            }
        };
        let timeout = self.timings.leader_timeout.max(each);
        match self.runtime.timeout(timeout, attempts).await {
            Some(outcome) => outcome,
            None => {
                let last = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(CallError::Unavailable(format!("membership's leader did not answer within {timeout:?}: {last}")))
            }
        }
    }
}
