//! What each command does to the state.

use cluster::Sharded;

use super::{ClusterState, NodeRecord, Placement, VoterRecord, role_named};
use crate::command::{Command, Registration, Reply, Standing, Why};

impl ClusterState {
    pub(super) fn apply_command(&mut self, command: &Command) -> Reply {
        match command {
            Command::Form { cluster_id, cluster_name, history_shards, matching_shards, feature_level } => {
                if !self.formed() {
                    self.cluster_id.clone_from(cluster_id);
                    self.cluster_name.clone_from(cluster_name);
                    self.feature_level = *feature_level;
                    self.history = Placement::of(*history_shards);
                    self.matching = Placement::of(*matching_shards);
                }
                Reply::Done
            }
            _ if !self.formed() => Reply::refused(Why::NotFormed, "the cluster has not been formed yet"),
            Command::Register { node, replaces } => self.register(node, *replaces),
            Command::Up { node, incarnation } => self.take_part(node, *incarnation),
            Command::Drain { node, incarnation } => self.drain(node, *incarnation),
            Command::Remove { node, incarnation } => self.remove(node, *incarnation),
            Command::Pin { service, shard, node } => self.pin(service, *shard, node.as_deref()),
            Command::Voter { id, uuid, address } => self.admit_voter(id, uuid, address),
            Command::VoterGone { id } => {
                self.voters.remove(id);
                Reply::Done
            }
            Command::RaiseFeatureLevel { level } => self.raise_feature_level(*level),
        }
    }

    fn register(&mut self, node: &Registration, replaces: Option<u64>) -> Reply {
        if node.feature_level < self.feature_level {
            return Reply::refused(Why::FeatureLevel, self.too_old(&node.id, node.feature_level));
        }
        if let Some(unknown) = node.roles.iter().find(|name| role_named(name).is_none()) {
            return Reply::refused(Why::Invalid, format!("node {:?} has the unknown role {unknown:?}", node.id));
        }
        let (incarnation, standing) = match self.nodes.get(&node.id) {
            // Draining is not undone by the process that drains.
            Some(known) if known.process == node.process => (known.incarnation, known.standing.max(node.standing)),
            Some(known) if replaces != Some(known.incarnation) => {
                return Reply::refused(
                    Why::NodeIdTaken,
                    format!("node id {:?} is taken by a process at {}", node.id, known.address),
                );
            }
            None if (1..=self.last_incarnation).contains(&node.incarnation) => (node.incarnation, node.standing),
            Some(_) | None => {
                self.last_incarnation += 1;
                (self.last_incarnation, node.standing)
            }
        };
        let record = NodeRecord {
            process: node.process.clone(),
            incarnation,
            roles: node.roles.clone(),
            address: node.address.clone(),
            zone: node.zone.clone(),
            weight: node.weight,
            feature_level: node.feature_level,
            standing,
        };
        self.nodes.insert(node.id.clone(), record);
        Reply::Registered { incarnation }
    }

    fn take_part(&mut self, node: &str, incarnation: u64) -> Reply {
        match self.node_mut(node, Some(incarnation)) {
            Ok(record) => record.standing = record.standing.max(Standing::Up),
            Err(refused) => return refused,
        }
        Reply::Done
    }

    fn drain(&mut self, node: &str, incarnation: Option<u64>) -> Reply {
        // A process that ends loses its shards in any case; an operator may change the decision.
        if incarnation.is_none()
            && let Some(service) = self.left_without(node)
        {
            let message = format!(
                "node {node:?} is the only one that is up for shards of {}: drained, it would leave them without owner",
                service.name()
            );
            return Reply::refused(Why::Invalid, message);
        }
        match self.node_mut(node, incarnation) {
            Ok(record) => record.standing = Standing::Draining,
            Err(refused) => return refused,
        }
        self.unpin(node);
        Reply::Done
    }

    fn remove(&mut self, node: &str, incarnation: u64) -> Reply {
        if self.node_mut(node, Some(incarnation)).is_ok() {
            self.nodes.remove(node);
            self.unpin(node);
        }
        Reply::Done
    }

    fn node_mut(&mut self, node: &str, incarnation: Option<u64>) -> Result<&mut NodeRecord, Reply> {
        let record = self.nodes.get_mut(node);
        record.filter(|record| incarnation.is_none_or(|wanted| wanted == record.incarnation)).ok_or_else(|| {
            let which = incarnation.map(|number| format!(" with incarnation {number}")).unwrap_or_default();
            Reply::refused(Why::UnknownNode, format!("there is no node {node:?}{which}"))
        })
    }

    fn pin(&mut self, service: &str, shard: u32, node: Option<&str>) -> Reply {
        let invalid = |message| Reply::refused(Why::Invalid, message);
        let Some(service) = [Sharded::History, Sharded::Matching].into_iter().find(|known| known.name() == service)
        else {
            return invalid(format!("service {service:?} has no shards: accepted are history and matching"));
        };
        let count = self.placement(service).owners.len();
        if shard as usize >= count {
            return invalid(format!(
                "{} has no shard {shard}: they are 0 to {}",
                service.name(),
                count.saturating_sub(1)
            ));
        }
        let Some(node) = node else {
            self.placement_mut(service).pinned.remove(&shard);
            return Reply::Done;
        };
        if !self.candidates(service).iter().any(|candidate| candidate.id == node) {
            let fit: Vec<String> = self.candidates(service).into_iter().map(|candidate| candidate.id).collect();
            return invalid(format!(
                "node {node:?} cannot own shards of {}: those that can are {}",
                service.name(),
                fit.join(", ")
            ));
        }
        self.placement_mut(service).pinned.insert(shard, node.to_owned());
        Reply::Done
    }

    fn admit_voter(&mut self, id: &str, uuid: &str, address: &str) -> Reply {
        if self.voters.get(id).is_some_and(|known| known.uuid != uuid) {
            let message =
                format!("voter {id:?} is known under another identity: remove it before another takes its name");
            return Reply::refused(Why::VoterIdTaken, message);
        }
        self.voters.insert(id.to_owned(), VoterRecord { uuid: uuid.to_owned(), address: address.to_owned() });
        Reply::Done
    }

    fn raise_feature_level(&mut self, level: u32) -> Reply {
        if let Some((id, node)) = self.nodes.iter().find(|(_, node)| node.feature_level < level) {
            let message = format!("node {id:?} is at feature level {}, below {level}", node.feature_level);
            return Reply::refused(Why::FeatureLevel, message);
        }
        self.feature_level = self.feature_level.max(level);
        Reply::Done
    }

    /// The refusal of a node of an old release.
    pub(crate) fn too_old(&self, id: &str, level: u32) -> String {
        format!(
            "node {id:?} is at feature level {level}, the cluster at {}: its release is too old for this cluster",
            self.feature_level
        )
    }
}

impl Placement {
    fn of(shards: u32) -> Self {
        let none = vec![None; shards as usize];
        Self { owners: none.clone(), former: none, pinned: Default::default() }
    }
}
