//! The identities of the voters.
//!
//! A voter that has lost its disk has forgotten what it voted for, and must not vote under its old name as if nothing had
//! happened; nor must a second process that was started with the same name. So a voter's data folder has a UUID, and each
//! voter remembers, on disk, the one under which it met another first. Once the replicated state names a voter's UUID,
//! that one counts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use internal_api::membership::{RaftReply, VoterHeader};

use crate::cluster_state::ClusterState;
use crate::disk::{Disk, Fact, Write};
use crate::settings::ClusterSettings;

/// What this voter knows about itself and the others.
pub(crate) struct Identities {
    /// What this voter was configured with.
    pub(crate) cluster: ClusterSettings,
    /// Its node's name.
    pub(crate) node: String,
    /// Its data folder's.
    pub(crate) uuid: String,
    disk: Disk,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    cluster_id: String,
    /// By the replicated state.
    agreed: BTreeMap<String, String>,
    /// By first meeting.
    first_seen: BTreeMap<String, String>,
}

impl Identities {
    pub(crate) fn new(
        cluster: ClusterSettings,
        node: String,
        uuid: String,
        disk: Disk,
        cluster_id: String,
        first_seen: BTreeMap<String, String>,
    ) -> Self {
        let known = Known { cluster_id, agreed: BTreeMap::new(), first_seen };
        Self { cluster, node, uuid, disk, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster that this voter belongs to; empty before it is known.
    pub(crate) fn cluster_id(&self) -> String {
        self.known().cluster_id.clone()
    }

    /// Voters that were met and that the replicated state does not name yet.
    pub(crate) fn unnamed(&self) -> Vec<(String, String)> {
        let known = self.known();
        known
            .first_seen
            .iter()
            .filter(|(id, _)| !known.agreed.contains_key(*id))
            .map(|(i, u)| (i.clone(), u.clone()))
            .collect()
    }

    /// Takes over what the replicated state says.
    pub(crate) fn learn(&self, state: &ClusterState) {
        let mut known = self.known();
        // Until the log has been applied again, the state may not know what the disk knows.
        if state.formed() && known.cluster_id != state.cluster_id {
            known.cluster_id.clone_from(&state.cluster_id);
            self.disk.write_lazily(vec![Write::Fact(Fact::ClusterId, state.cluster_id.clone().into_bytes())]);
        }
        let same = known.agreed.len() == state.voters.len()
            && state.voters.iter().all(|(id, voter)| known.agreed.get(id) == Some(&voter.uuid));
        if same {
            return;
        }
        let agreed: BTreeMap<String, String> =
            state.voters.iter().map(|(id, voter)| (id.clone(), voter.uuid.clone())).collect();
        let before = std::mem::replace(&mut known.agreed, agreed);
        for gone in before.keys().filter(|id| !state.voters.contains_key(*id)) {
            known.first_seen.remove(gone);
            self.disk.write_lazily(vec![Write::Peer(gone.clone(), None)]);
        }
    }

    fn expected(&self, voter: &str) -> Option<String> {
        let known = self.known();
        known.agreed.get(voter).or_else(|| known.first_seen.get(voter)).cloned()
    }

    /// What a message to another voter says about both.
    pub(crate) fn header(&self, to: &str) -> VoterHeader {
        VoterHeader {
            cluster_name: self.cluster.name.clone(),
            cluster_id: self.cluster_id(),
            history_shards: self.cluster.history_shards,
            matching_shards: self.cluster.matching_shards,
            from: self.node.clone(),
            from_uuid: self.uuid.clone(),
            to: to.to_owned(),
            to_uuid: self.expected(to).unwrap_or_default(),
        }
    }

    /// Whether a message from a voter may be handled. The first meeting is on disk when this returns.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) async fn admit(&self, header: &VoterHeader) -> Result<(), String> {
        let wrong = |what: &str, theirs: &dyn std::fmt::Debug, ours: &dyn std::fmt::Debug| {
            Err(format!("voter {:?} has {what} {theirs:?}, voter {:?} has {ours:?}", header.from, self.node))
        };
        if header.cluster_name != self.cluster.name {
            return wrong("cluster name", &header.cluster_name, &self.cluster.name);
        }
        if header.history_shards != self.cluster.history_shards {
            return wrong("history_shards", &header.history_shards, &self.cluster.history_shards);
        }
        if header.matching_shards != self.cluster.matching_shards {
            return wrong("matching_shards", &header.matching_shards, &self.cluster.matching_shards);
        }
        self.same_cluster(&header.from, &header.cluster_id)?;
        if header.to != self.node || !(header.to_uuid.is_empty() || header.to_uuid == self.uuid) {
            return Err(format!(
                "a message for voter {:?} with identity {:?} reached voter {:?} with identity {:?}",
                header.to, header.to_uuid, self.node, self.uuid
            ));
        }
        self.meet(&header.from, &header.from_uuid).await
    }

    /// Whether an answer from a voter may be used.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) async fn believe(&self, from: &str, reply: &RaftReply) -> Result<(), String> {
        self.same_cluster(from, &reply.cluster_id)?;
        self.meet(from, &reply.uuid).await
    }

    fn same_cluster(&self, from: &str, cluster_id: &str) -> Result<(), String> {
        let ours = self.cluster_id();
        if ours.is_empty() || cluster_id.is_empty() || ours == cluster_id {
            return Ok(());
        }
        Err(format!("voter {from:?} belongs to the cluster with id {cluster_id:?}, voter {:?} to {ours:?}", self.node))
    }

    async fn meet(&self, voter: &str, uuid: &str) -> Result<(), String> {
        if uuid.is_empty() {
            return Err(format!("voter {voter:?} sent no identity"));
        }
        let known = {
            let mut known = self.known();
            let expected = known.agreed.get(voter).or_else(|| known.first_seen.get(voter)).cloned();
            if expected.is_none() {
                known.first_seen.insert(voter.to_owned(), uuid.to_owned());
            }
            expected
        };
        match known {
            Some(known) if known == uuid => Ok(()),
            Some(known) => Err(format!(
                "voter {voter:?} has identity {uuid:?} and was known under {known:?}: its data was lost, or two processes \
                 use its name; remove it from the voters before it may join again"
            )),
            None => {
                let write = Write::Peer(voter.to_owned(), Some(uuid.to_owned()));
                self.disk.write(vec![write]).await.map_err(|error| error.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_state::VoterRecord;

    fn voter(node: &str, uuid: &str, folder: &tempfile::TempDir) -> Identities {
        let (disk, contents) = Disk::open(folder.path()).expect("a file");
        let cluster = ClusterSettings { name: "test".into(), history_shards: 8, matching_shards: 4 };
        Identities::new(cluster, node.into(), uuid.into(), disk, String::new(), contents.peers)
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[tokio::test]
    async fn a_voter_is_who_it_was_when_it_was_first_met_also_after_a_restart() {
        let (a_folder, b_folder, c_folder) = (folder(), folder(), folder());
        let a = voter("a", "a1", &a_folder);
        let header = voter("b", "b1", &b_folder).header("a");
        a.admit(&header).await.expect("the first meeting");
        a.admit(&header).await.expect("the same again");
        let other = voter("b", "b2", &c_folder).header("a");
        let why = a.admit(&other).await.expect_err("another under that name");
        assert!(why.contains(r#"has identity "b2" and was known under "b1""#), "{why}");
        let reply = |uuid: &str| RaftReply { uuid: uuid.into(), ..RaftReply::default() };
        a.believe("b", &reply("b1")).await.expect("the same");
        a.believe("b", &reply("b2")).await.expect_err("another under that name");
        a.believe("b", &reply("")).await.expect_err("no one there");
        assert_eq!(a.unnamed(), [("b".to_owned(), "b1".to_owned())]);
        drop(a);

        let again = loop {
            // The file is free when its thread has ended.
            if let Ok((disk, contents)) = Disk::open(a_folder.path()) {
                let cluster = ClusterSettings { name: "test".into(), history_shards: 8, matching_shards: 4 };
                break Identities::new(cluster, "a".into(), "a1".into(), disk, String::new(), contents.peers);
            }
            tokio::task::yield_now().await;
        };
        again.admit(&other).await.expect_err("it is remembered");

        // The replicated state has the last word, and a voter that is gone makes room.
        let mut state = ClusterState { cluster_id: "id".into(), ..ClusterState::default() };
        state.voters.insert("b".into(), VoterRecord { uuid: "b2".into(), address: "b:1".into() });
        again.learn(&state);
        again.admit(&other).await.expect("by decree");
        assert_eq!(again.header("b").to_uuid, "b2");
        state.voters.clear();
        again.learn(&state);
        again.admit(&voter("b", "b3", &folder()).header("a")).await.expect("a new one");
    }

    #[tokio::test]
    async fn messages_that_are_meant_for_others_are_refused() {
        let (a_folder, b_folder) = (folder(), folder());
        let a = voter("a", "a1", &a_folder);
        let header = voter("b", "b1", &b_folder).header("a");
        let rows = [
            (VoterHeader { cluster_name: "other".into(), ..header.clone() }, r#"has cluster name "other""#),
            (VoterHeader { history_shards: 9, ..header.clone() }, "has history_shards 9"),
            (VoterHeader { matching_shards: 5, ..header.clone() }, "has matching_shards 5"),
            (VoterHeader { to: "c".into(), ..header.clone() }, r#"for voter "c""#),
            (VoterHeader { to_uuid: "a0".into(), ..header.clone() }, r#"with identity "a0" reached voter "a""#),
            (VoterHeader { from_uuid: String::new(), ..header.clone() }, "sent no identity"),
        ];
        for (header, expected) in rows {
            let why = a.admit(&header).await.expect_err(expected);
            assert!(why.contains(expected), "{why}");
        }
        a.learn(&ClusterState { cluster_id: "id".into(), ..ClusterState::default() });
        let other = VoterHeader { cluster_id: "other".into(), ..header };
        let why = a.admit(&other).await.expect_err("another cluster");
        assert!(why.contains(r#"with id "other", voter "a" to "id""#), "{why}");
    }
}
