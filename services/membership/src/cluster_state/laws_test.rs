//! What holds after any commands, in any order.

use std::collections::BTreeSet;

use cluster::{NodeId, NodeState, Ring, Sharded};
use proptest::prelude::*;

use super::ClusterState;
use crate::command::{Batch, Command, Registration, Standing};

fn command() -> impl Strategy<Value = Command> {
    let id = || prop::sample::select(vec!["a", "b", "c", "d", "e"]).prop_map(str::to_owned);
    let incarnation = || 1u64..12;
    let registration =
        (id(), 0u8..3, incarnation(), any::<[bool; 2]>(), prop::sample::select(vec![0u32, 50, 100, 300]), 0u8..3)
            .prop_map(|(id, process, incarnation, roles, weight, standing)| Registration {
                address: format!("{id}:{process}"),
                process: format!("{id}{process}"),
                id,
                incarnation,
                roles: [("history", roles[0]), ("matching", roles[1]), ("frontend", true)]
                    .into_iter()
                    .filter(|(_, has)| *has)
                    .map(|(name, _)| name.to_owned())
                    .collect(),
                weight,
                feature_level: 1,
                standing: [Standing::Joining, Standing::Up, Standing::Draining][usize::from(standing)],
                zone: String::new(),
            });
    prop_oneof![
        4 => (registration, prop::option::of(incarnation())).prop_map(|(node, replaces)| Command::Register { node, replaces }),
        3 => (id(), incarnation()).prop_map(|(node, incarnation)| Command::Up { node, incarnation }),
        1 => (id(), prop::option::of(incarnation())).prop_map(|(node, incarnation)| Command::Drain { node, incarnation }),
        2 => (id(), incarnation()).prop_map(|(node, incarnation)| Command::Remove { node, incarnation }),
        1 => (any::<bool>(), 0u32..20, prop::option::of(id())).prop_map(|(history, shard, node)| Command::Pin {
            service: if history { "history" } else { "matching" }.to_owned(),
            shard,
            node,
        }),
    ]
}

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    prop::collection::vec(prop::collection::vec(command(), 1..4).prop_map(|commands| Batch { commands }), 1..30)
}

fn formed(shards: u32) -> ClusterState {
    let mut state = ClusterState::default();
    let form = Command::Form {
        cluster_id: "id".into(),
        cluster_name: "test".into(),
        history_shards: shards,
        matching_shards: 4,
        feature_level: 1,
    };
    state.apply(&Batch { commands: vec![form] });
    state
}

fn check_ring(ring: &Ring) -> Result<(), TestCaseError> {
    for service in [Sharded::History, Sharded::Matching] {
        let up: BTreeSet<&NodeId> =
            ring.nodes_of(service.role()).filter(|node| node.state == NodeState::Up).map(|node| &node.id).collect();
        for owner in ring.shards(service) {
            match owner {
                None => prop_assert!(up.is_empty(), "a shard has no owner although {up:?} are up"),
                Some(owner) => prop_assert!(up.contains(owner), "{owner} owns a shard and is not up"),
            }
        }
    }
    Ok(())
}

fn unversioned(ring: Ring) -> Ring {
    Ring { version: 0, ..ring }
}

proptest! {
    #[test]
    fn owners_are_up_and_versions_rise_exactly_with_changes(shards in 1u32..40, batches in batches()) {
        let mut state = formed(shards);
        for batch in &batches {
            let before = state.ring();
            let replies = state.apply(batch);
            let after = state.ring();
            prop_assert_eq!(replies.0.len(), batch.commands.len());
            check_ring(&after)?;
            let changed = unversioned(before.clone()) != unversioned(after.clone());
            prop_assert_eq!(after.version, before.version + u64::from(changed));
            for (id, node) in &after.nodes {
                prop_assert!(node.incarnation <= state.last_incarnation, "{}", id);
            }
        }
    }

    #[test]
    fn the_same_batches_give_the_same_state_also_from_a_snapshot_in_between(batches in batches(), cut in any::<prop::sample::Index>()) {
        let (mut live, mut restored) = (formed(12), formed(12));
        let cut = cut.index(batches.len());
        for (position, batch) in batches.iter().enumerate() {
            live.apply(batch);
            restored.apply(batch);
            if position == cut {
                let bytes = serde_json::to_vec(&restored).expect("it encodes");
                restored = serde_json::from_slice(&bytes).expect("it decodes");
            }
        }
        prop_assert_eq!(live, restored);
    }

    #[test]
    fn a_command_that_is_repeated_at_once_changes_nothing(commands in prop::collection::vec(command(), 1..40)) {
        let mut state = formed(12);
        for command in commands {
            let batch = Batch { commands: vec![command] };
            state.apply(&batch);
            let once = state.clone();
            state.apply(&batch);
            prop_assert_eq!(&state, &once);
        }
    }
}
