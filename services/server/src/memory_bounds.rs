//! Shows how the process's memory is divided.

use metrics::gauge;

use crate::ServerSettings;

/// Publishes the bounds beside which `outlast_memory_bytes` shows what is in use.
pub(crate) fn publish(settings: &ServerSettings) {
    let parts = [
        ("requests", settings.frontend.transport.in_flight_bytes),
        ("entities", settings.shards.memory_bytes),
        ("dirty", settings.shards.dirty_bytes),
        ("log_waiting", settings.shards.waiting_bytes),
        ("store_cache", settings.store_cache_bytes),
    ];
    for (part, bytes) in parts {
        gauge!("outlast_memory_bound_bytes", "part" => part).set(bytes as f64);
    }
    tracing::info!(?parts, "memory limits");
}
