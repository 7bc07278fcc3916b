//! Leases, beside a machine's clock that was set wrong: it must not count.

use tokio::net::TcpListener;

use super::*;
use crate::command::{Batch, Registration};
use crate::disk::Disk;
use crate::identities::Identities;
use crate::raft_group::Entry;
use crate::settings::ClusterSettings;

/// A leadership with one node in the state, which has the incarnation 1.
async fn leadership(folder: &tempfile::TempDir, address: String) -> (Leadership, mpsc::Receiver<Proposal>) {
    let (disk, contents) = Disk::open(folder.path()).expect("a file");
    let cluster = ClusterSettings { name: "test".into(), history_shards: 8, matching_shards: 4 };
    let identities = Identities::new(cluster, "v".into(), "uuid".into(), disk.clone(), String::new(), BTreeMap::new());
    let mut machine = StateMachine::open(disk, &contents, Arc::new(identities)).expect("an empty file");
    let form = Command::Form {
        cluster_id: "id".into(),
        cluster_name: "test".into(),
        history_shards: 8,
        matching_shards: 4,
        feature_level: 1,
    };
    let node = Registration { id: "a".into(), process: "p".into(), address, feature_level: 1, ..Default::default() };
    let commands = vec![form, Command::Register { node, replaces: None }];
    let payload = openraft::EntryPayload::Normal(Batch { commands });
    let entry = Entry { log_id: openraft::testing::log_id(1, 0, 1), payload };
    openraft::storage::RaftStateMachine::apply(&mut machine, [entry]).await.expect("applied");
    let (proposals, inbox) = mpsc::channel(8);
    let leadership = Leadership {
        ended: CancellationToken::new(),
        proposals,
        sessions: Arc::default(),
        machine,
        runtime: Runtime::virtual_from(ids::Timestamp::MAX),
        timings: MembershipSettings::default(),
    };
    (leadership, inbox)
}

#[tokio::test]
async fn a_node_whose_session_broke_keeps_its_place_for_a_lease_whatever_time_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (leadership, mut inbox) = leadership(&folder, listener.local_addr().expect("bound").to_string()).await;
    let generation = leadership.open_session("a", None);
    // The leadership's own clock stands at the end of all time, where nothing is left of any lease; this one goes on.
    let passed = Runtime::virtual_from(ids::Timestamp::EPOCH);
    let lease = leadership.timings.lease;
    let standing = leadership.clone();
    Runtime::system().spawn(async move { standing.close_session("a", 1, generation).await });
    let proposal = inbox.recv().await.expect("the leadership is open");
    assert_eq!(proposal.command, Command::Remove { node: "a".into(), incarnation: 1 });
    let passed = passed.now().since(ids::Timestamp::EPOCH);
    assert!(passed >= lease, "the lease of {lease:?} took {passed:?}");
}
