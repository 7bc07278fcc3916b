//! Who gets in.

use cluster::{Membership, NodeId, Sharded};

use crate::cluster_in_process::{Cluster, RunningMember};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_the_shards_and_see_the_same_ring() {
    let cluster = Cluster::of(3).await;
    let (a, b) = (cluster.member("a").await, cluster.member("b").await);
    a.sees("both own six", |ring| ring.owned(Sharded::History, &NodeId::new("b")).len() == 6).await;
    let confirmed = a.member.confirm().await.expect("there is a leader");
    assert_eq!(confirmed.owned(Sharded::History, &NodeId::new("a")).len(), 6);
    assert_eq!(confirmed.owned(Sharded::Matching, &NodeId::new("a")).len(), 2);
    b.sees("b catches up", |ring| *ring == *confirmed).await;
    assert!(!confirmed.cluster_id.is_empty());
}
