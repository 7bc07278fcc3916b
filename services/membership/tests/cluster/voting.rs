//! Changes of the voters themselves.

use std::time::Duration;

use cluster::{Membership, NodeId};
use membership::{Admin, CallError, ClusterSettings, StartError, Voter, VoterSettings};
use runtime::Runtime;
use settings::MembershipSettings;

use crate::cluster_in_process::{Cluster, eventually, voter_id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_are_added_and_removed_by_command_the_leader_too() {
    let mut cluster = Cluster::of(1).await;
    let a = cluster.member("a").await;
    let admin = a.member.admin();
    for number in 1..3 {
        let address = cluster.run_extra_voter(number).await;
        let voters = admin.add_voter(&voter_id(number), &address.to_string()).await.expect("it joins");
        assert_eq!(voters.iter().filter(|voter| voter.voting).count(), number + 1, "{voters:?}");
    }
    let address = cluster.voters[2].address.to_string();
    let again = admin.add_voter(&voter_id(2), &address).await.expect("the answer to the first may have been lost");
    assert_eq!(again.iter().filter(|voter| voter.voting).count(), 3, "{again:?}");
    let elsewhere = admin.add_voter(&voter_id(2), "127.0.0.1:9").await.expect_err("it is one at another address");
    assert!(elsewhere.to_string().contains("is a voter already, at"), "{elsewhere}");

    // The first voter leads, as long as nothing comes in between; it goes, and the others have everything.
    for _ in 0..2 {
        admin.remove_voter(&voter_id(0)).await.expect("it is removed; the answer may have been lost");
    }
    cluster.kill_voter(0);
    eventually("one of the others leads", || async { cluster.leader_now().filter(|leader| *leader > 0) }).await;
    let members = admin.members().await.expect("a leader");
    assert_eq!(
        members.voters.iter().map(|voter| voter.id.as_str()).collect::<std::collections::BTreeSet<_>>(),
        ["voter-1", "voter-2"].into()
    );
    assert!(a.member.confirm().await.expect("a leader").nodes.contains_key(&NodeId::new("a")));
    eventually("the new leader has the removed one forgotten", || async {
        let leader = cluster.leader_now()?;
        let named = cluster.voters[leader].voter.as_ref()?.named_voters();
        (named == [voter_id(1), voter_id(2)].into()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_voter_is_removed_that_the_others_could_not_decide_without() {
    let mut cluster = Cluster::of(3).await;
    let a = cluster.member("a").await;
    let admin = a.member.admin();
    let dead = (cluster.leader().await + 1) % 3;
    cluster.kill_voter(dead);
    for alive in (0..3).filter(|number| *number != dead) {
        let refused = admin.remove_voter(&voter_id(alive)).await.expect_err("one of two would be left");
        assert!(refused.to_string().contains("could decide nothing"), "{refused}");
        assert!(refused.to_string().contains(voter_id(dead).as_str()), "it says who is dead: {refused}");
    }
    a.member.confirm().await.expect("membership goes on");
    let voters = admin.remove_voter(&voter_id(dead)).await.expect("the dead one can go");
    assert_eq!(voters.len(), 2, "{voters:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_become_a_voter_is_refused_with_the_reason() {
    let mut cluster = Cluster::of(1).await;
    let a = cluster.member("a").await;
    let admin = a.member.admin();
    let brief = MembershipSettings { leader_timeout: Duration::ZERO, ..cluster.timings.clone() };
    let impatient = Admin::with_seeds(cluster.seeds(), brief, Runtime::system());
    let missing = impatient.add_voter(&voter_id(1), "127.0.0.1:1").await.expect_err("no voter is there");
    assert!(matches!(missing, CallError::Unavailable(_)), "{missing}");
    let address = cluster.run_extra_voter(1).await.to_string();
    let other_name = admin.add_voter(&NodeId::new("voter-9"), &address).await.expect_err("it is another");
    assert!(other_name.to_string().contains(r#"is "voter-1", not "voter-9""#), "{other_name}");
    let last = admin.remove_voter(&voter_id(0)).await.expect_err("there is no other");
    assert!(last.to_string().contains("is the last voter"), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_lost_its_disk_does_not_vote_under_its_old_name_until_it_is_added_again() {
    let mut cluster = Cluster::of(3).await;
    let a = cluster.member("a").await;
    let lost = (cluster.leader().await + 1) % 3;
    let admin = a.member.admin();
    eventually("everyone knows everyone", || async {
        let all = |voter: &Voter| voter.named_voters().len() == 3;
        cluster.voters.iter().all(|running| running.voter.as_ref().is_some_and(all)).then_some(())
    })
    .await;
    cluster.kill_voter(lost);
    eventually("its file is closed", || async { std::fs::remove_dir_all(cluster.data_dir(lost)).ok() }).await;
    cluster.restart_voter(lost).await;
    // The other that follows dies: were the forgetful one allowed to vote, there would be a quorum.
    let leader = cluster.leader().await;
    assert_ne!(leader, lost);
    let other = 3 - leader - lost;
    cluster.kill_voter(other);
    eventually("no quorum is left", || async { cluster.leader_now().is_none().then_some(()) }).await;
    cluster.restart_voter(other).await;
    cluster.leader().await;
    admin.remove_voter(&voter_id(lost)).await.expect("it is removed");
    cluster.kill_voter(lost);
    eventually("its file is closed", || async { std::fs::remove_dir_all(cluster.data_dir(lost)).ok() }).await;
    cluster.restart_voter_uninvited(lost).await;
    let address = cluster.voters[lost].address.to_string();
    let voters = admin.add_voter(&voter_id(lost), &address).await.expect("it joins as a new one");
    assert_eq!(voters.iter().filter(|voter| voter.voting).count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_belongs_to_one_voter_of_one_cluster() {
    let mut cluster = Cluster::of(1).await;
    cluster.member("a").await;
    let start = |settings| async { Voter::start(settings, Runtime::system()).await.err() };
    let in_use = start(cluster.voter_settings(0)).await;
    assert!(matches!(in_use, Some(StartError::InUse(_))), "{in_use:?}");
    cluster.kill_voter(0);
    let own = cluster.voter_settings(0);
    let rows = [
        (VoterSettings { node: NodeId::new("voter-8"), ..own.clone() }, r#"belongs to voter "voter-0""#),
        (
            VoterSettings { cluster: ClusterSettings { name: "other".into(), ..own.cluster.clone() }, ..own.clone() },
            r#"belongs to cluster "test""#,
        ),
        (
            VoterSettings { cluster: ClusterSettings { history_shards: 13, ..own.cluster.clone() }, ..own.clone() },
            "12 history and 4 matching shards",
        ),
    ];
    for (settings, expected) in rows {
        let refused = eventually("the file is free", || async {
            start(settings.clone()).await.filter(|error| !matches!(error, StartError::InUse(_)))
        });
        let refused = refused.await.to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}
