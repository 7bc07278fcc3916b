//! The rules of the replicated state, one by one.

use cluster::{NodeId, NodeState, Sharded};

use super::ClusterState;
use crate::command::{Batch, Command, Registration, Reply, Standing, Why};

fn formed() -> ClusterState {
    let mut state = ClusterState::default();
    let form = Command::Form {
        cluster_id: "id".into(),
        cluster_name: "test".into(),
        history_shards: 12,
        matching_shards: 4,
        feature_level: 2,
    };
    assert_eq!(one(&mut state, form), Reply::Done);
    state
}

fn one(state: &mut ClusterState, command: Command) -> Reply {
    state.apply(&Batch { commands: vec![command] }).0.remove(0)
}

fn node(id: &str, process: &str) -> Registration {
    Registration {
        id: id.into(),
        process: process.into(),
        roles: ["history".to_owned()].into(),
        address: format!("{id}:1"),
        weight: 100,
        feature_level: 2,
        standing: Standing::Up,
        ..Registration::default()
    }
}

fn register(state: &mut ClusterState, node: Registration, replaces: Option<u64>) -> Reply {
    one(state, Command::Register { node, replaces })
}

fn why(reply: &Reply) -> Option<Why> {
    match reply {
        Reply::Refused { why, .. } => Some(*why),
        Reply::Done | Reply::Registered { .. } => None,
    }
}

fn owned(state: &ClusterState, id: &str) -> usize {
    state.ring().owned(Sharded::History, &NodeId::new(id)).len()
}

#[test]
fn nothing_happens_before_the_cluster_is_formed_and_it_is_formed_once() {
    let mut state = ClusterState::default();
    assert_eq!(why(&register(&mut state, node("a", "p"), None)), Some(Why::NotFormed));
    assert_eq!(state, ClusterState::default());
    let mut state = formed();
    let version = state.ring_version;
    let again = Command::Form {
        cluster_id: "other".into(),
        cluster_name: "other".into(),
        history_shards: 99,
        matching_shards: 99,
        feature_level: 9,
    };
    assert_eq!(one(&mut state, again), Reply::Done);
    assert_eq!((state.cluster_id.as_str(), state.history.owners.len(), state.ring_version), ("id", 12, version));
}

#[test]
fn a_node_gets_shards_once_it_is_up_and_none_while_it_joins_or_drains() {
    let mut state = formed();
    let joining = Registration { standing: Standing::Joining, ..node("a", "p") };
    assert_eq!(register(&mut state, joining, None), Reply::Registered { incarnation: 1 });
    assert_eq!(owned(&state, "a"), 0);
    let version = state.ring_version;
    assert_eq!(one(&mut state, Command::Up { node: "a".into(), incarnation: 1 }), Reply::Done);
    assert_eq!((owned(&state, "a"), state.ring_version), (12, version + 1));
    register(&mut state, node("b", "q"), None);
    assert_eq!((owned(&state, "a"), owned(&state, "b")), (6, 6));
    assert_eq!(one(&mut state, Command::Drain { node: "a".into(), incarnation: None }), Reply::Done);
    assert_eq!((owned(&state, "a"), owned(&state, "b")), (0, 12));
    assert_eq!(state.ring().nodes[&NodeId::new("a")].state, NodeState::Draining);
    assert_eq!(one(&mut state, Command::Up { node: "a".into(), incarnation: 1 }), Reply::Done);
    assert_eq!(owned(&state, "a"), 0, "draining is not undone by the process that drains");
    register(&mut state, node("a", "p"), None);
    assert_eq!(owned(&state, "a"), 0, "nor by its registering again");
}

#[test]
fn an_operator_does_not_drain_the_only_node_of_a_role_and_a_node_that_ends_does() {
    let mut state = formed();
    register(&mut state, node("a", "p"), None);
    register(&mut state, Registration { standing: Standing::Joining, ..node("b", "q") }, None);
    let matching = Registration { roles: ["matching".to_owned()].into(), ..node("c", "r") };
    register(&mut state, matching, None);
    let by_operator = |node: &str| Command::Drain { node: node.into(), incarnation: None };
    for (only, service) in [("a", "history"), ("c", "matching")] {
        match one(&mut state, by_operator(only)) {
            Reply::Refused { why: Why::Invalid, message } => assert!(message.contains(service), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(owned(&state, "a"), 12);
    assert_eq!(one(&mut state, by_operator("b")), Reply::Done, "it owns nothing");
    assert_eq!(one(&mut state, Command::Drain { node: "a".into(), incarnation: Some(1) }), Reply::Done);
    assert_eq!(owned(&state, "a"), 0, "who ends takes its shards along whatever is said");
    assert_eq!(one(&mut state, by_operator("a")), Reply::Done, "it drains already");
}

#[test]
fn what_changes_nothing_makes_no_version() {
    let mut state = formed();
    register(&mut state, node("a", "p"), None);
    let version = state.ring_version;
    register(&mut state, node("a", "p"), None);
    one(&mut state, Command::Up { node: "a".into(), incarnation: 1 });
    one(&mut state, Command::Remove { node: "b".into(), incarnation: 1 });
    one(&mut state, Command::Voter { id: "v".into(), uuid: "u".into(), address: "v:1".into() });
    assert_eq!(state.ring_version, version);
    register(&mut state, Registration { address: "a:2".into(), ..node("a", "p") }, None);
    assert_eq!(state.ring_version, version + 1, "an address can be seen");
}

#[test]
fn changes_that_come_together_make_one_version() {
    let mut state = formed();
    let version = state.ring_version;
    let commands = ["a", "b", "c"].map(|id| Command::Register { node: node(id, id), replaces: None });
    state.apply(&Batch { commands: commands.to_vec() });
    assert_eq!((state.ring_version, owned(&state, "c")), (version + 1, 4));
}

#[test]
fn a_second_process_under_a_live_nodes_id_is_refused_until_the_first_is_found_dead() {
    let mut state = formed();
    register(&mut state, node("a", "first"), None);
    assert_eq!(why(&register(&mut state, node("a", "second"), None)), Some(Why::NodeIdTaken));
    assert_eq!(why(&register(&mut state, node("a", "second"), Some(7))), Some(Why::NodeIdTaken));
    assert_eq!(register(&mut state, node("a", "second"), Some(1)), Reply::Registered { incarnation: 2 });
    assert_eq!(why(&register(&mut state, node("a", "third"), Some(1))), Some(Why::NodeIdTaken), "it came too late");
    one(&mut state, Command::Remove { node: "a".into(), incarnation: 1 });
    assert_eq!(owned(&state, "a"), 12, "late news of the first one's death does not concern the second");
}

#[test]
fn an_expired_process_that_is_alive_comes_back_as_itself() {
    let mut state = formed();
    register(&mut state, node("a", "p"), None);
    one(&mut state, Command::Remove { node: "a".into(), incarnation: 1 });
    assert_eq!(owned(&state, "a"), 0);
    let again = Registration { incarnation: 1, ..node("a", "p") };
    assert_eq!(register(&mut state, again, None), Reply::Registered { incarnation: 1 });
    assert_eq!(owned(&state, "a"), 12);
    let invented = Registration { incarnation: 99, ..node("b", "q") };
    assert_eq!(register(&mut state, invented, None), Reply::Registered { incarnation: 2 });
}

#[test]
fn a_rolling_restart_returns_to_where_it_started() {
    let mut state = formed();
    for id in ["a", "b", "c"] {
        register(&mut state, node(id, id), None);
    }
    let before = state.ring().history;
    for id in ["a", "b", "c"] {
        let incarnation = state.nodes[id].incarnation;
        one(&mut state, Command::Drain { node: id.into(), incarnation: Some(incarnation) });
        one(&mut state, Command::Remove { node: id.into(), incarnation });
        assert_ne!(state.ring().history, before);
        register(&mut state, node(id, &format!("{id}-again")), None);
        assert_eq!(state.ring().history, before, "{id} has its shards back");
    }
}

#[test]
fn a_moved_shard_stays_until_its_node_leaves() {
    let mut state = formed();
    register(&mut state, node("a", "p"), None);
    register(&mut state, node("b", "q"), None);
    let shard = state.history.owners.iter().position(|owner| owner.as_deref() == Some("a")).expect("a owns one");
    let shard = u32::try_from(shard).expect("small");
    let to = |node: Option<&str>| Command::Pin { service: "history".into(), shard, node: node.map(str::to_owned) };
    assert_eq!(one(&mut state, to(Some("b"))), Reply::Done);
    let owner = |state: &ClusterState| state.history.owners[shard as usize].clone();
    assert_eq!(owner(&state).as_deref(), Some("b"));
    register(&mut state, node("c", "r"), None);
    assert_eq!(owner(&state).as_deref(), Some("b"));
    one(&mut state, Command::Drain { node: "b".into(), incarnation: None });
    assert_ne!(owner(&state).as_deref(), Some("b"));
    assert!(state.history.pinned.is_empty());
    for (wrong, says) in [
        (Command::Pin { service: "history".into(), shard: 12, node: Some("a".into()) }, "0 to 11"),
        (Command::Pin { service: "frontend".into(), shard: 0, node: Some("a".into()) }, "history and matching"),
        (to(Some("b")), "those that can are a, c"),
        (to(Some("unknown")), "those that can are a, c"),
    ] {
        match one(&mut state, wrong) {
            Reply::Refused { why: Why::Invalid, message } => assert!(message.contains(says), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_old_release_is_refused_and_the_level_rises_only_when_all_have_it() {
    let mut state = formed();
    let old = Registration { feature_level: 1, ..node("a", "p") };
    assert_eq!(why(&register(&mut state, old, None)), Some(Why::FeatureLevel));
    register(&mut state, node("a", "p"), None);
    register(&mut state, Registration { feature_level: 3, ..node("b", "q") }, None);
    assert_eq!(why(&one(&mut state, Command::RaiseFeatureLevel { level: 3 })), Some(Why::FeatureLevel));
    one(&mut state, Command::Remove { node: "a".into(), incarnation: 1 });
    assert_eq!(one(&mut state, Command::RaiseFeatureLevel { level: 3 }), Reply::Done);
    assert_eq!(state.feature_level, 3);
}

#[test]
fn a_voters_name_belongs_to_one_identity_until_it_is_gone() {
    let mut state = formed();
    let voter = |uuid: &str| Command::Voter { id: "v".into(), uuid: uuid.into(), address: "v:1".into() };
    assert_eq!(one(&mut state, voter("u1")), Reply::Done);
    assert_eq!(one(&mut state, voter("u1")), Reply::Done);
    assert_eq!(why(&one(&mut state, voter("u2"))), Some(Why::VoterIdTaken));
    one(&mut state, Command::VoterGone { id: "v".into() });
    assert_eq!(one(&mut state, voter("u2")), Reply::Done);
}

#[test]
fn news_of_unknown_nodes_is_refused_or_ignored() {
    let mut state = formed();
    assert_eq!(why(&one(&mut state, Command::Up { node: "a".into(), incarnation: 1 })), Some(Why::UnknownNode));
    assert_eq!(why(&one(&mut state, Command::Drain { node: "a".into(), incarnation: None })), Some(Why::UnknownNode));
    assert_eq!(one(&mut state, Command::Remove { node: "a".into(), incarnation: 1 }), Reply::Done);
    let unknown_role = Registration { roles: ["king".to_owned()].into(), ..node("a", "p") };
    assert_eq!(why(&register(&mut state, unknown_role, None)), Some(Why::Invalid));
}
