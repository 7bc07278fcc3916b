//! The table of the methods that are served, of every API service alike. A row names a method, says what a caller needs to
//! be allowed, and holds the two functions that the method's file has: `check`, which validates a request by itself and may
//! tidy it up, and `serve`, which answers it. Everything else follows from the row: unknown methods, the bound of the decoded
//! message, metrics, rate limits, the request's turn, its namespace and token, compression, and the fuzz target.
//!
//! A service has a file of rows, such as `workflow_service.rs`, and is listed in [`METHODS`].

mod context;
mod decoded;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::LazyLock;

use bytes::Bytes;
use calls::{ServiceError, ServiceResult};
pub(crate) use context::{AboutNamespace, Context, NewWork, OfTask, Tenant};
use decoded::message;
pub(crate) use decoded::{Decoded, MessageBytes};
use http::{Request as HttpRequest, Response as HttpResponse};
use prost::{DecodeError, Message};
use settings::RequestLimits;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::Grpc;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

use crate::admission::Class;
use crate::errors::to_status;
use crate::{Frontend, operator_service, workflow_service};

/// All services, in the order of [`Methods::rows`].
static METHODS: LazyLock<Methods> =
    LazyLock::new(|| Methods::of([workflow_service::methods(), operator_service::methods()]));

/// Answers requests to one method, or to one of the small services.
pub(crate) type Handler = BoxCloneSyncService<HttpRequest<Body>, HttpResponse<Body>, Infallible>;

/// What a caller needs to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To look.
    Read,
    /// To start and to change things.
    Write,
    /// To do a worker's work: to take tasks and to answer them.
    Worker,
    /// To run the cluster: namespaces and what belongs to all of them.
    Admin,
}

/// A row.
pub(crate) struct Method {
    /// The full name of the service.
    pub(crate) service: &'static str,
    /// The method's name in it.
    pub(crate) name: &'static str,
    row: Box<dyn Row>,
}

/// The rows of all services, and where they are.
pub(crate) struct Methods {
    rows: Vec<Method>,
    numbers: HashMap<String, usize>,
}

/// A row of the service whose full name is `NAME`: the method, its module, what a caller needs to be allowed, and whether its
/// calls wait for something to happen.
macro_rules! row {
    ($name:ident, $module:ident, $access:ident) => {
        $crate::methods::row!(@ $name, $module, $access, |_| false)
    };
    ($name:ident, $module:ident, $access:ident, waits) => {
        $crate::methods::row!(@ $name, $module, $access, |_| true)
    };
    ($name:ident, $module:ident, $access:ident, waits if $waits:expr) => {
        $crate::methods::row!(@ $name, $module, $access, $waits)
    };
    (@ $name:ident, $module:ident, $access:ident, $waits:expr) => {
        $crate::methods::Method::new(
            NAME,
            stringify!($name),
            $crate::methods::Access::$access,
            $waits,
            $module::check,
            $module::serve,
        )
    };
}

pub(crate) use row;

/// The table.
pub(crate) fn methods() -> &'static Methods {
    &METHODS
}

impl Methods {
    fn of(services: impl IntoIterator<Item = Vec<Method>>) -> Self {
        let rows: Vec<Method> = services.into_iter().flatten().collect();
        let numbers = rows.iter().enumerate().map(|(number, method)| (method.path(), number)).collect();
        Self { rows, numbers }
    }

    /// Every row, by its number.
    pub(crate) fn rows(&self) -> &[Method] {
        &self.rows
    }

    /// The number of the method with this path, such as `/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo`.
    pub(crate) fn number(&self, path: &str) -> Option<usize> {
        self.numbers.get(path).copied()
    }

    /// The number of the method of this name, whichever service has it.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.rows.iter().position(|method| method.name == name)
    }

    /// The full names of the services.
    pub(crate) fn services(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.rows.iter().map(|method| method.service).collect();
        names.dedup();
        names
    }
}

impl Method {
    /// A method of `service`. `waits` says whether a call waits for something to happen: then it holds no turn.
    pub(crate) fn new<Q, C, A, F>(
        service: &'static str,
        name: &'static str,
        access: Access,
        waits: fn(&Q) -> bool,
        check: fn(&mut Q, &RequestLimits) -> ServiceResult<()>,
        serve: fn(Frontend, C, Q) -> F,
    ) -> Self
    where
        Q: Message + Default + 'static,
        C: Context<Q>,
        A: Message + 'static,
        F: Future<Output = ServiceResult<A>> + Send + 'static,
    {
        Self { service, name, row: Box::new(Typed { access, waits, check, serve }) }
    }

    fn path(&self) -> String {
        format!("/{}/{}", self.service, self.name)
    }

    /// Answers requests to this method with `frontend`. Expects a request whose message was read before.
    pub(crate) fn handler(&self, frontend: &Frontend) -> Handler {
        self.row.handler(frontend.clone())
    }

    /// Decodes `bytes` as a request. Its fields of type `bytes` share them.
    pub(crate) fn decode(&self, bytes: Bytes) -> Result<Decoded, DecodeError> {
        self.row.decode(bytes)
    }

    /// Decodes `bytes` as a request and checks it. `None` when they are no such request.
    pub(crate) fn decode_and_check(&self, bytes: &[u8], limits: &RequestLimits) -> Option<ServiceResult<()>> {
        self.row.decode_and_check(bytes, limits)
    }
}

/// A row whose types are forgotten.
trait Row: Send + Sync {
    fn handler(&self, frontend: Frontend) -> Handler;
    fn decode(&self, bytes: Bytes) -> Result<Decoded, DecodeError>;
    fn decode_and_check(&self, bytes: &[u8], limits: &RequestLimits) -> Option<ServiceResult<()>>;
    /// Of the request and the response.
    #[cfg(test)]
    fn messages(&self) -> [&'static str; 2];
    #[cfg(test)]
    fn access(&self) -> Access;
}

struct Typed<Q, C, F> {
    access: Access,
    waits: fn(&Q) -> bool,
    check: fn(&mut Q, &RequestLimits) -> ServiceResult<()>,
    serve: fn(Frontend, C, Q) -> F,
}

impl<Q, C, F> Clone for Typed<Q, C, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, C, F> Copy for Typed<Q, C, F> {}

impl<Q, C, A, F> Row for Typed<Q, C, F>
where
    Q: Message + Default + 'static,
    C: Context<Q>,
    A: Message + 'static,
    F: Future<Output = ServiceResult<A>> + Send + 'static,
{
    fn handler(&self, frontend: Frontend) -> Handler {
        const GZIP: CompressionEncoding = CompressionEncoding::Gzip;
        let (row, most) = (*self, frontend.settings().transport.request_bytes);
        BoxCloneSyncService::new(service_fn(move |request| {
            let frontend = frontend.clone();
            let answer = service_fn(move |request| {
                let frontend = frontend.clone();
                async move { frontend.respond(row.answer(&frontend, request).await) }
            });
            let mut grpc = Grpc::new(ProstCodec::<A, Q>::default())
                .accept_compressed(GZIP)
                .send_compressed(GZIP)
                .max_decoding_message_size(most);
            async move { Ok(grpc.unary(answer, request).await) }
        }))
    }

    fn decode(&self, bytes: Bytes) -> Result<Decoded, DecodeError> {
        Q::decode(bytes).map(Decoded::new)
    }

    fn decode_and_check(&self, bytes: &[u8], limits: &RequestLimits) -> Option<ServiceResult<()>> {
        let mut request = Q::decode(bytes).ok()?;
        Some((self.check)(&mut request, limits))
    }

    #[cfg(test)]
    fn messages(&self) -> [&'static str; 2] {
        [std::any::type_name::<Q>(), std::any::type_name::<A>()]
    }

    #[cfg(test)]
    fn access(&self) -> Access {
        self.access
    }
}

impl<Q, C, F> Typed<Q, C, F>
where
    Q: Message + Default + 'static,
    C: Context<Q>,
{
    async fn answer<A>(&self, frontend: &Frontend, request: Request<Q>) -> ServiceResult<A>
    where
        F: Future<Output = ServiceResult<A>>,
    {
        let call = frontend.call(&request);
        let (mut request, bytes) = message(request);
        frontend.quotas().admit(call.arrived)?;
        (self.check)(&mut request, &frontend.settings().limits)?;
        let turn = frontend.turn(C::namespace(&request), self.class(&request), bytes).await?;
        let _turn = (!(self.waits)(&request)).then_some(turn);
        let context = C::of(frontend, call, &request).await?;
        (self.serve)(frontend.clone(), context, request).await
    }

    /// What a worker reports of a task that it has goes first.
    fn class(&self, request: &Q) -> Class {
        match self.access {
            Access::Worker if !(self.waits)(request) => Class::Finishing,
            _ => Class::Beginning,
        }
    }
}

impl Frontend {
    /// What goes over the wire. Small messages travel as they are: compressing them costs more than it saves.
    fn respond<T: Message>(&self, answer: ServiceResult<T>) -> Result<Response<T>, Status> {
        let transport = &self.settings().transport;
        match answer {
            Ok(message) => {
                let small = message.encoded_len() < transport.compress_from_bytes;
                let mut response = Response::new(message);
                if small {
                    response.disable_compression();
                }
                Ok(response)
            }
            Err(error) => {
                if matches!(error, ServiceError::Internal(_) | ServiceError::DataLoss(_)) {
                    tracing::error!(%error, "a request failed with a server error");
                }
                Err(to_status(&error, transport.error_message_chars))
            }
        }
    }
}

#[cfg(test)]
#[path = "methods_test.rs"]
mod tests;
