//! The frontend as one value: everything that an RPC needs to answer.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use api::temporal::api::enums::v1::NamespaceState;
use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use bytes::Bytes;
use calls::{CallContext, History, Matching, Namespace, ServiceError, ServiceResult};
use ids::NamespaceId;
use runtime::Runtime;
use settings::FrontendSettings;
use storage::Registry;
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Class, Entrant, Turn};
use crate::deadline::Call;
use crate::directory::Directory;
use crate::memory::{self, Bounds, RequestMemory};
use crate::namespaces::Namespaces;
use crate::quotas::{Poll, PollPlace, Quotas};
use crate::stored::{Written, refresh_after_changes, unavailable, write_once};
use crate::tokens::{self, Content, Keys, Kind};
use crate::validation::fields;

/// Why a frontend cannot start or serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The registry does not give what every frontend needs.
    #[error("cannot read the registry: {0}")]
    Registry(#[from] ServiceError),
    /// The API's descriptors cannot be served.
    #[error("the reflection service cannot be built: {0}")]
    Reflection(String),
    /// What the server calls itself is no version.
    #[error("server_version {0}")]
    ServerVersion(String),
    /// The socket.
    #[error("serving failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A frontend. Cheap to clone; the last clone ends its background work.
#[derive(Clone)]
pub struct Frontend(Arc<Inner>);

struct Inner {
    settings: FrontendSettings,
    history: Arc<dyn History>,
    matching: Arc<dyn Matching>,
    directory: Arc<Directory>,
    runtime: Runtime,
    quotas: Quotas,
    memory: Arc<RequestMemory>,
    admission: Arc<Admission>,
    /// The lane of requests that name no known namespace.
    no_namespace: NamespaceId,
    keys: RwLock<Arc<Keys>>,
    cluster_id: String,
    /// Ends polls.
    stopping: CancellationToken,
    /// Ends the task that follows the registry.
    gone: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

const CLUSTER_ID_ROW: &str = "cluster/id";

impl Frontend {
    /// Serves the namespaces of `directory`, which is followed already. Reads keys and the cluster's id from its registry
    /// (creating them once), and follows the keys.
    pub async fn new(
        settings: FrontendSettings,
        history: Arc<dyn History>,
        matching: Arc<dyn Matching>,
        directory: Arc<Directory>,
        runtime: Runtime,
    ) -> Result<Self, StartError> {
        let registry = &directory.registry;
        // Watch first, then read: a change in between is seen by the watch.
        let changes = registry.watch();
        let keys = Keys::load_or_create(registry.as_ref(), &runtime).await?;
        let cluster_id = load_or_draw_cluster_id(registry.as_ref(), &runtime).await?;
        let frontend = Self(Arc::new(Inner {
            quotas: Quotas::new(settings.quotas.clone()),
            memory: RequestMemory::new(Bounds::of(&settings.transport)),
            admission: Admission::new(settings.admission.clone(), runtime.clone()),
            no_namespace: NamespaceId::new(""),
            keys: RwLock::new(Arc::new(keys)),
            stopping: CancellationToken::new(),
            gone: CancellationToken::new(),
            settings,
            history,
            matching,
            directory,
            runtime,
            cluster_id,
        }));
        frontend.follow_keys(changes);
        frontend.0.runtime.spawn(Arc::clone(&frontend.0.admission).adapt(frontend.0.gone.clone()));
        Ok(frontend)
    }

    /// Creates the namespace `name` with the default retention, unless it exists. Refuses names that callers could not
    /// register.
    pub async fn ensure_namespace(&self, name: &str) -> ServiceResult<()> {
        fields::namespace_name("namespace", name, &self.settings().limits)?;
        match self.namespaces().by_name(name).await {
            Err(ServiceError::NamespaceNotFound(_)) => {}
            found => return found.map(drop),
        }
        let info = NamespaceInfo {
            name: name.to_owned(),
            state: NamespaceState::Registered as i32,
            ..NamespaceInfo::default()
        };
        let config = NamespaceConfig {
            workflow_execution_retention_ttl: proto_duration(self.settings().namespaces.default_retention),
            ..NamespaceConfig::default()
        };
        let namespace = Namespace { id: NamespaceId::new(""), name: name.to_owned(), info, config };
        match self.namespaces().create(namespace).await {
            // Another process was quicker: as good.
            Ok(_) | Err(ServiceError::NamespaceAlreadyExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Keys change rarely; they are read again after each burst of changes of the registry.
    fn follow_keys(&self, changes: tokio::sync::watch::Receiver<u64>) {
        let (followed, gone) = (Arc::downgrade(&self.0), self.0.gone.clone());
        let refresh = move || {
            let inner = followed.upgrade()?;
            Some(async move { inner.refresh_keys().await })
        };
        self.0.runtime.spawn(refresh_after_changes(changes, gone, self.0.runtime.clone(), refresh));
    }

    pub(crate) fn settings(&self) -> &FrontendSettings {
        &self.0.settings
    }

    pub(crate) fn history(&self) -> &dyn History {
        self.0.history.as_ref()
    }

    pub(crate) fn matching(&self) -> &dyn Matching {
        self.0.matching.as_ref()
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.0.directory.namespaces
    }

    pub(crate) fn quotas(&self) -> &Quotas {
        &self.0.quotas
    }

    /// The memory that requests share.
    pub(crate) fn memory(&self) -> &Arc<RequestMemory> {
        &self.0.memory
    }

    /// The turn of a request of `bytes` to the namespace `name`, when it has come.
    pub(crate) async fn turn(&self, name: &str, class: Class, bytes: usize) -> ServiceResult<Turn> {
        // Unknown names share one lane: inventing them gains nothing.
        let namespace = self.namespaces().known_by_name(name).unwrap_or_else(|| self.0.no_namespace.clone());
        self.0.admission.enter(Entrant { namespace: &namespace, name, class, bytes }).await
    }

    pub(crate) fn cluster_id(&self) -> &str {
        &self.0.cluster_id
    }

    /// Cancelled once polls must end.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// The context of a call to the namespace of this name, which is its verified tenant.
    pub(crate) async fn tenant(&self, call: &Call, name: &str) -> ServiceResult<CallContext> {
        fields::required_id("namespace", name, &self.settings().limits)?;
        let namespace = self.namespaces().by_name(name).await?;
        self.admitted(call, namespace)
    }

    /// The same for a request that starts something: a deprecated namespace only finishes what it has.
    pub(crate) async fn tenant_for_new_work(&self, call: &Call, name: &str) -> ServiceResult<CallContext> {
        let ctx = self.tenant(call, name).await?;
        if ctx.namespace.is_registered() {
            return Ok(ctx);
        }
        let state = NamespaceState::try_from(ctx.namespace.info.state).unwrap_or_default();
        Err(ServiceError::FailedPrecondition(format!(
            "namespace {name:?} is {}, new workflows start in registered ones only",
            state.as_str_name()
        )))
    }

    fn admitted(&self, call: &Call, namespace: Arc<Namespace>) -> ServiceResult<CallContext> {
        self.0.quotas.admit_to(&namespace.id, &namespace.name, self.0.runtime.now())?;
        memory::attribute(&namespace)?;
        Ok(call.context(namespace))
    }

    /// The tenant of a request and its task token, opened. Workers that name no namespace are known by their token.
    pub(crate) async fn tenant_and_token<T: Content>(
        &self,
        call: &Call,
        kind: Kind,
        name: &str,
        token: &Bytes,
    ) -> ServiceResult<(CallContext, T)> {
        let token: T = tokens::read(kind, &self.open(kind, token).await?)?;
        let ctx = match name {
            "" => self.admitted(call, self.namespaces().by_id(token.namespace_id()).await?)?,
            name => self.tenant(call, name).await?,
        };
        tokens::check_namespace(kind, &token, &ctx.namespace)?;
        Ok((ctx, token))
    }

    /// A place among the waiting polls of a tenant.
    pub(crate) fn wait(&self, ctx: &CallContext, poll: Poll) -> ServiceResult<PollPlace> {
        self.0.quotas.wait(&ctx.namespace.id, &ctx.namespace.name, poll)
    }

    /// The cluster's keys.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens a token that a client brings back.
    pub(crate) async fn open(&self, kind: Kind, token: &Bytes) -> ServiceResult<Bytes> {
        let keys = self.keys();
        if tokens::has_unknown_key(&keys, token) {
            // Sealed with a key newer than ours, or forged: forgers pay one read of one row each.
            self.0.refresh_keys().await?;
            return tokens::open(&self.keys(), kind, token);
        }
        tokens::open(&keys, kind, token)
    }

    /// A call that arrives now.
    pub(crate) fn call<T>(&self, request: &tonic::Request<T>) -> Call {
        Call::new(self.0.runtime.now(), request.metadata(), request.extensions().get())
    }
}

impl Inner {
    async fn refresh_keys(&self) -> ServiceResult<()> {
        if let Some(keys) = Keys::load(self.directory.registry.as_ref()).await? {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        }
        Ok(())
    }
}

async fn load_or_draw_cluster_id(registry: &dyn Registry, runtime: &Runtime) -> ServiceResult<String> {
    let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
    if let Some(entry) = registry.get(CLUSTER_ID_ROW).await.map_err(unavailable)? {
        return Ok(text(&entry.value));
    }
    let fresh = Bytes::from(runtime.uuid());
    match write_once(registry, runtime, CLUSTER_ID_ROW, 0, fresh.clone()).await? {
        Written::Theirs(Some(entry)) => Ok(text(&entry.value)),
        Written::Ours | Written::Theirs(None) => Ok(text(&fresh)),
    }
}

/// A duration as protobuf has it.
pub(crate) fn proto_duration(duration: Duration) -> Option<prost_types::Duration> {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Some(prost_types::Duration { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0) })
}
