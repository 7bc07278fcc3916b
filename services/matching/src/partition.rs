//! The names of partitions as entities.

use calls::{QueueName, TaskQueueKind};
use entities::EntityKey;

use crate::kind::PartitionKind;

/// A partition of a queue that has backlogs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionName {
    pub(crate) queue: QueueName,
    pub(crate) number: u32,
}

impl PartitionName {
    /// The entity that holds its backlog. Part of the stored format.
    pub(crate) fn key(&self) -> EntityKey {
        let kind = match self.queue.kind {
            TaskQueueKind::Workflow => 'w',
            TaskQueueKind::StickyWorkflow => 's',
            TaskQueueKind::Activity => 'a',
            TaskQueueKind::Nexus => 'n',
        };
        let id = format!("{kind}/{}/{}", self.number, self.queue.name);
        EntityKey::of::<PartitionKind>(self.queue.namespace.clone(), id)
    }

    /// The inverse of [`PartitionName::key`].
    pub(crate) fn of_key(key: &EntityKey) -> Option<Self> {
        let (kind, rest) = key.id.split_once('/')?;
        let (number, name) = rest.split_once('/')?;
        let kind = match kind {
            "w" => TaskQueueKind::Workflow,
            "s" => TaskQueueKind::StickyWorkflow,
            "a" => TaskQueueKind::Activity,
            "n" => TaskQueueKind::Nexus,
            _ => return None,
        };
        let queue = QueueName { namespace: key.namespace.clone(), name: name.to_owned(), kind };
        Some(Self { queue, number: number.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_being_a_key() {
        for (name, kind) in [("orders", TaskQueueKind::Workflow), ("a/b//c", TaskQueueKind::Activity)] {
            let queue = QueueName { namespace: "n".into(), name: name.to_owned(), kind };
            let partition = PartitionName { queue, number: 17 };
            assert_eq!(PartitionName::of_key(&partition.key()), Some(partition));
        }
    }
}
