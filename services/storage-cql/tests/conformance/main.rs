//! The adapter against the conformance suite, on a real Cassandra node that this process starts (or on the nodes that
//! `OUTLAST_CASSANDRA=host:port,…` names). A restart closes the connections and makes others.

mod clusters;
mod database;
mod layout;
mod prepared;
mod proxied;
mod schemas;
mod secured;
mod steps;
mod storms;

use async_trait::async_trait;
use runtime::Runtime;
use storage::Store;
use storage::conformance::Subject;
use storage_cql::{CqlSettings, CqlStore, LogLimits};

use database::fresh::FreshAfterDrop;

struct OnCassandra {
    settings: CqlSettings,
    store: CqlStore,
    fresh: FreshAfterDrop,
}

impl OnCassandra {
    async fn with(log: LogLimits) -> Self {
        let settings = CqlSettings { log, ..database::settings().await };
        let store = connect(&settings).await;
        Self { settings, store, fresh: FreshAfterDrop::default() }
    }
}

async fn connect(settings: &CqlSettings) -> CqlStore {
    CqlStore::connect(settings.clone(), Runtime::system()).await.expect("a store can be connected to")
}

#[async_trait]
impl Subject for OnCassandra {
    fn store(&self) -> Store {
        let store = self.store.store();
        Store { table: self.fresh.over(store.table.clone()), ..store }
    }

    async fn restart(&mut self) {
        self.store.close().await;
        self.store = connect(&self.settings).await;
    }
}

/// With the limits of a server.
mod as_served {
    use super::*;
    storage::conformance_suite!(OnCassandra::with(LogLimits::default()).await);
}

/// A new segment after every three groups, and almost every group beside the log: what a server does now and then, all the
/// time.
mod always_rolling {
    use super::*;
    const LIMITS: LogLimits =
        LogLimits { segment_bytes: 1 << 20, segment_groups: 3, inline_bytes: 3000, chunk_bytes: 2000 };

    async fn subject() -> OnCassandra {
        OnCassandra::with(LogLimits { chunk_bytes: 200_000, ..LIMITS }).await
    }

    storage::conformance_suite!(@tests subject().await; logs:
        appends_are_found_by_the_next_opener,
        a_second_opener_fences_the_first,
        a_deposed_owner_cannot_trim_or_move_the_watermark,
        an_append_must_be_the_next,
        logs_are_apart,
        trimming_forgets_what_is_below,
        reopening_keeps_the_log_ours,
        a_repeated_reopen_finds_the_first,
        large_groups_survive,
        a_restart_keeps_everything,
    );
    storage::conformance_suite!(@tests subject().await; unknowns:
        an_append_that_landed_is_found_by_its_id,
        an_append_that_did_not_land_can_be_made_again,
        an_unknown_reopen_can_be_repeated,
    );
    storage::conformance_suite!(@tests OnCassandra::with(LIMITS).await; random: any_calls_end_as_in_memory,);
}
