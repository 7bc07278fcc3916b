//! Whom a method's request concerns. The type that a method's `serve` takes says it, and is resolved from the request
//! before `serve` is called.

use api::{HasTaskToken, InNamespace};
use calls::token::{ActivityTaskToken, QueryTaskToken, WorkflowTaskToken};
use calls::{CallContext, ServiceResult};

use crate::Frontend;
use crate::deadline::Call;
use crate::tokens::{Content, Kind};

/// What `serve` gets of its caller and its namespace.
pub(crate) trait Context<Q>: Sized + Send + 'static {
    /// The namespace that the request waits its turn in; empty for requests to none, and from workers that are known by
    /// their token.
    fn namespace(request: &Q) -> &str;

    /// Resolves it. Refused when the namespace does not exist or is over its limits, or the token is not one of ours.
    fn of(frontend: &Frontend, call: Call, request: &Q) -> impl Future<Output = ServiceResult<Self>> + Send;
}

/// The cluster as a whole, which has no tenant.
impl<Q: Sync> Context<Q> for Call {
    fn namespace(_: &Q) -> &str {
        ""
    }

    async fn of(_: &Frontend, call: Call, _: &Q) -> ServiceResult<Self> {
        Ok(call)
    }
}

/// A namespace itself, as an entry of the registry.
pub(crate) struct AboutNamespace;

impl<Q: InNamespace + Sync> Context<Q> for AboutNamespace {
    fn namespace(request: &Q) -> &str {
        request.namespace()
    }

    async fn of(_: &Frontend, _: Call, _: &Q) -> ServiceResult<Self> {
        Ok(Self)
    }
}

/// Something within a namespace.
pub(crate) struct Tenant {
    /// The call.
    pub(crate) call: Call,
    /// The namespace, resolved.
    pub(crate) ctx: CallContext,
}

impl<Q: InNamespace + Sync> Context<Q> for Tenant {
    fn namespace(request: &Q) -> &str {
        request.namespace()
    }

    async fn of(frontend: &Frontend, call: Call, request: &Q) -> ServiceResult<Self> {
        let ctx = frontend.tenant(&call, request.namespace()).await?;
        Ok(Self { call, ctx })
    }
}

/// Something that begins within a namespace: a deprecated one only finishes what it has.
pub(crate) struct NewWork {
    /// The call.
    pub(crate) call: Call,
    /// The namespace, resolved.
    pub(crate) ctx: CallContext,
}

impl<Q: InNamespace + Sync> Context<Q> for NewWork {
    fn namespace(request: &Q) -> &str {
        request.namespace()
    }

    async fn of(frontend: &Frontend, call: Call, request: &Q) -> ServiceResult<Self> {
        let ctx = frontend.tenant_for_new_work(&call, request.namespace()).await?;
        Ok(Self { call, ctx })
    }
}

/// A task that was handed out, by its token. Workers that name no namespace are known by it.
pub(crate) struct OfTask<T> {
    /// The namespace, resolved.
    pub(crate) ctx: CallContext,
    /// The token, opened.
    pub(crate) token: T,
}

/// The content of a task's token.
pub(crate) trait TaskToken: Content {
    /// What it is sealed as.
    const KIND: Kind;
}

impl TaskToken for WorkflowTaskToken {
    const KIND: Kind = Kind::WorkflowTask;
}

impl TaskToken for ActivityTaskToken {
    const KIND: Kind = Kind::ActivityTask;
}

impl TaskToken for QueryTaskToken {
    const KIND: Kind = Kind::QueryTask;
}

impl<Q: HasTaskToken + Sync, T: TaskToken + Send + 'static> Context<Q> for OfTask<T> {
    fn namespace(request: &Q) -> &str {
        request.namespace()
    }

    async fn of(frontend: &Frontend, call: Call, request: &Q) -> ServiceResult<Self> {
        let (ctx, token) = frontend.tenant_and_token(&call, T::KIND, request.namespace(), request.task_token()).await?;
        Ok(Self { ctx, token })
    }
}
