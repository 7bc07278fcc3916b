//! What a shard counts, for operators, apart from what it counts for each kind (`kinds.rs`).

use metrics::{Counter, Gauge, counter, gauge};
use storage::LogId;

/// The shard's metrics, looked up once.
pub(crate) struct Measures {
    pub(crate) groups: Counter,
    pub(crate) unknown_appends: Counter,
    pub(crate) checkpoints: Counter,
    pub(crate) dirty_entities: Gauge,
    pub(crate) dirty_bytes: Gauge,
    pub(crate) loaded_entities: Gauge,
    pub(crate) loaded_bytes: Gauge,
    pub(crate) log_bytes: Gauge,
    pub(crate) wake_ups: Gauge,
}

/// A shard that is not here any more has nothing here.
impl Drop for Measures {
    fn drop(&mut self) {
        let Self { dirty_entities, dirty_bytes, loaded_entities, loaded_bytes, log_bytes, wake_ups, .. } = self;
        for gauge in [dirty_entities, dirty_bytes, loaded_entities, loaded_bytes, log_bytes, wake_ups] {
            gauge.set(0);
        }
    }
}

impl Measures {
    pub(crate) fn new(log: &LogId) -> Self {
        // Shard 3 of history has the log `history/3`.
        let service = log.0.split('/').next().unwrap_or_default().to_owned();
        let log = log.0.clone();
        Self {
            groups: counter!("outlast_shard_groups_total", "service" => service.clone()),
            unknown_appends: counter!("outlast_shard_unknown_appends_total", "service" => service.clone()),
            checkpoints: counter!("outlast_shard_checkpoints_total", "service" => service),
            dirty_entities: gauge!("outlast_shard_dirty_entities", "log" => log.clone()),
            dirty_bytes: gauge!("outlast_shard_dirty_bytes", "log" => log.clone()),
            loaded_entities: gauge!("outlast_shard_loaded_entities", "log" => log.clone()),
            loaded_bytes: gauge!("outlast_shard_loaded_bytes", "log" => log.clone()),
            log_bytes: gauge!("outlast_shard_log_bytes", "log" => log.clone()),
            wake_ups: gauge!("outlast_shard_wake_ups", "log" => log),
        }
    }
}
