//! What is known of every call, and what makes the trait of a service out of anything that carries calls.

use std::future::Future;

use bytes::Bytes;
use cluster::Sharded;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::{CallContext, ServiceError, ServiceResult, Wire};

/// How a call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As soon as it is carried out.
    AtOnce,
    /// When something happens, or at the context's deadline, which its service keeps by itself.
    Waits,
    /// Likewise, with something that is handed out: if the answer is not written to its receiver, that is taken back.
    Poll,
    /// By all nodes that serve it, at once; by one of them is enough.
    Everywhere,
}

/// A call: one row of a service's table.
pub trait Call: Send + Sync + 'static {
    /// The service that is called.
    type Service: Service + ?Sized;
    /// The request.
    type Request: Wire + Clone + Sync;
    /// What is answered.
    type Reply: Wire;
    /// `service/method`, in messages between nodes and in metrics.
    const NAME: &'static str;
    /// Its place in the table.
    const NUMBER: usize;
    /// How it is answered.
    const WAY: Way;

    /// The workflow ID or the task queue, within the context's namespace, whose shard serves the call.
    fn key(request: &Self::Request) -> &str;

    /// The API's own field for a request id, of those requests that have one.
    fn request_id(_request: &mut Self::Request) -> Option<&mut String> {
        None
    }

    /// What a caller is answered when no attempt of its call was served: the last error, or something to go on from.
    ///
    /// # Errors
    /// `error`, or another one.
    fn unserved(_request: &Self::Request, error: ServiceError) -> ServiceResult<Self::Reply> {
        Err(error)
    }

    /// Calls `service`.
    fn serve(
        service: &Self::Service,
        ctx: &CallContext,
        request: Self::Request,
    ) -> impl Future<Output = ServiceResult<Self::Reply>> + Send;
}

/// A service, by its trait object: `dyn History`, `dyn Matching`.
pub trait Service: Send + Sync + 'static {
    /// Which service it is.
    const SHARDED: Sharded;
    /// Its calls.
    const CALLS: &'static [Row<Self>];

    /// The row of the call with this name.
    #[must_use]
    fn find(name: &str) -> Option<&'static Row<Self>> {
        Self::CALLS.iter().find(|row| row.name == name)
    }
}

/// What the side that serves knows of a call by its name.
pub struct Row<S: ?Sized> {
    /// [`Call::NAME`].
    pub name: &'static str,
    /// Calls the service with a request as it has arrived, and returns the reply as it travels.
    pub serve: for<'a> fn(&'a S, &'a CallContext, Bytes) -> BoxFuture<'a, ServiceResult<Bytes>>,
}

impl<S: ?Sized> Row<S> {
    /// The row of `C`.
    pub(crate) const fn of<C: Call<Service = S>>() -> Self {
        Self { name: C::NAME, serve: serve_encoded::<C> }
    }
}

fn serve_encoded<'a, C: Call>(
    service: &'a C::Service,
    ctx: &'a CallContext,
    request: Bytes,
) -> BoxFuture<'a, ServiceResult<Bytes>> {
    async move {
        let request = C::Request::from_bytes(request)?;
        Ok(C::serve(service, ctx, request).await?.to_bytes())
    }
    .boxed()
}

/// Brings any call of a service to where it is served. Whatever does so has the service's trait.
pub trait Carrier<S: Service + ?Sized>: Send + Sync + 'static {
    /// Carries one call.
    fn carry<C: Call<Service = S>>(
        &self,
        ctx: &CallContext,
        request: C::Request,
    ) -> impl Future<Output = ServiceResult<C::Reply>> + Send;
}

/// The answer to a call by implementations of a service's trait that only serve other calls.
pub(crate) fn unserved(name: &str) -> ServiceError {
    ServiceError::Unimplemented(format!("{name} is not served here"))
}
