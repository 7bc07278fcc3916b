//! Taking a shard over: what the log's tail says, before anything is loaded.
//!
//! Serving begins as soon as the tail is read. Its changes wait at their entities, which load on first touch or in the
//! background, and are dirty in all parts until this owner has written them.
//!
//! It writes them with versions of its own. A former owner may have written the same entity at the same position, and other
//! bytes: rows need not follow from the changes alone. Of two puts of one version a store keeps whichever it likes. So an
//! owner that finds a tail begins with a group that holds nothing but whatever is decided meanwhile, and writes nothing that
//! it recovered with a version below the position of that group.

use std::sync::Arc;

use bytes::Bytes;
use storage::Seq;

use super::ShardState;
use crate::EntityKey;
use crate::tail::{TailEntry, TailGroup};

impl ShardState {
    /// Attaches the tail's changes to their entities.
    pub(super) fn recover(&mut self, tail: Vec<TailGroup>) {
        let now = self.moment.now;
        // What the tables say may concern changes of the tail: those are copied once more, under our own eyes.
        let stored = self.quarantined.iter().map(|(key, entry)| (key.clone(), entry.reason.to_string()));
        let mut quarantined: Vec<_> = stored.collect();
        for group in tail {
            self.checkpoints.group_committed(group.seq, group.bytes, now);
            for TailEntry { key, changes, quarantined: reason } in group.entries {
                if reason.is_empty() {
                    self.attach(group.seq, key, changes);
                } else {
                    quarantined.push((key, reason));
                }
            }
        }
        if self.entities.len() > 0 {
            self.writer.begin_group(now);
        }
        for (key, reason) in quarantined {
            self.quarantine_again(key, &reason);
        }
    }

    fn attach(&mut self, seq: Seq, key: EntityKey, changes: Vec<Bytes>) {
        let now = self.moment.now;
        let id = match self.entities.find(&key) {
            Some(id) => id,
            None => {
                // Hosted, or its group would not have been read.
                let Some(kind) = self.kinds.get(key.kind) else { return };
                let id = self.entities.insert(key, Arc::clone(kind));
                self.loads.recover(id);
                id
            }
        };
        if let Some(slot) = self.entities.get_mut(id) {
            slot.keep_recent(seq, changes);
            slot.last_change = seq;
            self.checkpoints.mark_dirty(id, slot, seq, now);
        }
    }
}
