//! Sends statements, counts them, and says what their failures mean.

use std::sync::Arc;
use std::time::Duration;

use runtime::Runtime;
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::policies::load_balancing::{DefaultPolicy, LoadBalancingPolicy};
use scylla::policies::retry::{DefaultRetryPolicy, FallthroughRetryPolicy, RetryPolicy};
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::batch::BatchValues;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency};
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::answer::Answer;
use crate::failure::{Failure, was_forgotten};
use crate::settings::CqlSettings;
use crate::stats::{Counters, Kind};

/// How each kind of statement is sent.
pub(crate) struct Profiles {
    conditional: ExecutionProfileHandle,
    serial_read: ExecutionProfileHandle,
    read: ExecutionProfileHandle,
    write: ExecutionProfileHandle,
}

impl Profiles {
    pub(crate) fn new(settings: &CqlSettings) -> Self {
        let timeouts = settings.timeouts;
        let nearby = DefaultPolicy::builder().prefer_datacenter(settings.local_datacenter.clone()).build();
        let profile = |timeout: Duration, consistency, retries: Arc<dyn RetryPolicy>| {
            ExecutionProfile::builder()
                .consistency(consistency)
                .serial_consistency(Some(SerialConsistency::LocalSerial))
                .request_timeout(Some(timeout))
                .retry_policy(retries)
                .speculative_execution_policy(None)
                .load_balancing_policy(Arc::clone(&nearby))
                .build()
                .into_handle()
        };
        let once = || Arc::new(FallthroughRetryPolicy::new());
        let again = || Arc::new(DefaultRetryPolicy::new());
        Self {
            conditional: profile(timeouts.conditional, Consistency::LocalQuorum, once()),
            serial_read: profile(timeouts.read, Consistency::LocalSerial, once()),
            read: profile(timeouts.read, Consistency::LocalQuorum, again()),
            write: profile(timeouts.write, Consistency::LocalQuorum, again()),
        }
    }

    /// For statements that change the schema: all through one node.
    pub(crate) fn schema(settings: &CqlSettings, node: Arc<dyn LoadBalancingPolicy>) -> ExecutionProfileHandle {
        ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .request_timeout(Some(settings.timeouts.schema))
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .load_balancing_policy(node)
            .build()
            .into_handle()
    }

    fn of(&self, kind: Kind) -> &ExecutionProfileHandle {
        match kind {
            Kind::ConditionalBatch | Kind::ConditionalUpdate => &self.conditional,
            Kind::SerialRead => &self.serial_read,
            Kind::Read => &self.read,
            Kind::TableWrite | Kind::ChunkWrite | Kind::PartitionDelete => &self.write,
        }
    }
}

/// How often a statement is prepared again that its node has forgotten.
const PREPARED_AGAIN: usize = 20;

/// The session, with what it takes to send a statement the right way.
pub(crate) struct Requests {
    /// `None` once the store is closed.
    session: RwLock<Option<Session>>,
    profiles: Profiles,
    runtime: Runtime,
    pub(crate) counters: Counters,
}

impl Requests {
    pub(crate) fn new(session: Session, settings: &CqlSettings, runtime: Runtime) -> Self {
        let session = RwLock::new(Some(session));
        Self { session, profiles: Profiles::new(settings), runtime, counters: Counters::default() }
    }

    /// Waits for what is under way, then closes the connections. Later requests are refused.
    pub(crate) async fn close(&self) {
        drop(self.session.write().await.take());
    }

    async fn session(&self) -> Result<RwLockReadGuard<'_, Session>, Failure> {
        RwLockReadGuard::try_map(self.session.read().await, Option::as_ref)
            .map_err(|_| Failure::Refused("the store is closed".to_owned()))
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A statement that is sent as its kind demands. Only what may be sent twice is called idempotent.
    pub(crate) async fn prepare(&self, kind: Kind, cql: &str) -> Result<PreparedStatement, Failure> {
        let mut statement =
            self.session().await?.prepare(cql).await.map_err(|error| Failure::Refused(format!("{cql}: {error}")))?;
        statement.set_execution_profile_handle(Some(self.profiles.of(kind).clone()));
        statement.set_is_idempotent(is_idempotent(kind));
        Ok(statement)
    }

    /// A batch of statements on one partition: no batch log, one write.
    pub(crate) fn batch(&self, kind: Kind, statements: impl IntoIterator<Item = PreparedStatement>) -> Batch {
        let mut batch = Batch::new(BatchType::Unlogged);
        for statement in statements {
            batch.append_statement(statement);
        }
        batch.set_execution_profile_handle(Some(self.profiles.of(kind).clone()));
        batch.set_is_idempotent(is_idempotent(kind));
        batch
    }

    /// A conditional write of one statement. Sent once: no answer, no second try.
    pub(crate) async fn conditional(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Answer, Failure> {
        let kind = Kind::ConditionalUpdate;
        let session = &*self.session().await?;
        let answered = self.counted(kind, || session.execute_unpaged(statement, &values)).await;
        self.answer(kind, answered)
    }

    /// A conditional write of several statements. Sent once: no answer, no second try.
    pub(crate) async fn conditional_batch(&self, batch: &Batch, values: impl BatchValues) -> Result<Answer, Failure> {
        let kind = Kind::ConditionalBatch;
        let session = &*self.session().await?;
        let answered = self.counted(kind, || session.batch(batch, &values)).await;
        self.answer(kind, answered)
    }

    fn answer(&self, kind: Kind, answered: Result<QueryResult, Failure>) -> Result<Answer, Failure> {
        let answer = answered.and_then(Answer::read);
        if answer.is_err() {
            self.counters.unknown(kind);
        }
        answer
    }

    /// A write that may be repeated.
    pub(crate) async fn write(
        &self,
        kind: Kind,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(), Failure> {
        let session = &*self.session().await?;
        self.counted(kind, || session.execute_unpaged(statement, &values)).await.map(drop)
    }

    /// A batch that may be repeated.
    pub(crate) async fn write_batch(&self, kind: Kind, batch: &Batch, values: impl BatchValues) -> Result<(), Failure> {
        let session = &*self.session().await?;
        self.counted(kind, || session.batch(batch, &values)).await.map(drop)
    }

    /// All rows at once: for statements whose answer is small.
    pub(crate) async fn rows(
        &self,
        kind: Kind,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryRowsResult, Failure> {
        let session = &*self.session().await?;
        let result = self.counted(kind, || session.execute_unpaged(statement, &values)).await?;
        result.into_rows_result().map_err(Failure::unreadable)
    }

    /// One page, and where the next begins.
    pub(crate) async fn page(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        from: PagingState,
    ) -> Result<(QueryRowsResult, Option<PagingState>), Failure> {
        let session = &*self.session().await?;
        let page = || session.execute_single_page(statement, &values, from.clone());
        let (result, next) = self.counted(Kind::Read, page).await?;
        let next = match next {
            PagingStateResponse::HasMorePages { state } => Some(state),
            PagingStateResponse::NoMorePages => None,
        };
        Ok((result.into_rows_result().map_err(Failure::unreadable)?, next))
    }

    /// Sends a request, and again if its node did not know the statement: then it has done nothing. The driver prepares the
    /// statement again each time, but a node whose cache is full of statements that are asked for more often forgets it again at
    /// once, until it was asked for often enough itself.
    async fn counted<T, F>(&self, kind: Kind, send: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, ExecutionError>>,
    {
        let began = self.runtime.now();
        let mut answered = send().await;
        for _ in 0..PREPARED_AGAIN {
            match &answered {
                Err(error) if was_forgotten(error) => answered = send().await,
                _ => break,
            }
        }
        self.counters.requested(kind, self.runtime.now().since(began));
        answered.map_err(|error| Failure::of(&error))
    }
}

fn is_idempotent(kind: Kind) -> bool {
    match kind {
        Kind::ConditionalBatch | Kind::ConditionalUpdate => false,
        Kind::SerialRead | Kind::Read | Kind::TableWrite | Kind::ChunkWrite | Kind::PartitionDelete => true,
    }
}
