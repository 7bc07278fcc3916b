//! The layer in front of every handler: which service a path means, the error for an unknown one, the caller's deadline,
//! and what happens when a handler panics.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use api::texts;
use calls::ReceiptSlot;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use runtime::Runtime;
use settings::TransportSettings;
use tonic::Status;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::announced::Announced;
use super::answer;
use super::connections::ConnectionInfo;
use super::holding::holding;
use super::incoming::Reader;
use super::notify_on_write::notify_on_write;
use super::request_metrics::RequestMetrics;
use super::unwritten::Unwritten;
use super::watched::ConnectInfo;
use crate::client_versions::ClientVersions;
use crate::deadline::{Received, parse_timeout};
use crate::errors::{mismatch_to_status, to_status};
use crate::memory::{Account, ConnectionShare, RequestMemory};
use crate::methods::{Handler, methods};

/// An error should reach its caller before the caller's deadline, since it says more than a deadline that passed.
const DEADLINE_MARGIN: Duration = Duration::from_millis(200);

/// Sends each request to the method, or to the small service, that its path names.
#[derive(Clone)]
pub(super) struct Dispatch(Arc<Routes>);

struct Routes {
    /// Of the table's methods, by number.
    methods: Vec<Handler>,
    /// Small services, by the full name of the service, such as `grpc.health.v1.Health`.
    others: Vec<(&'static str, Handler)>,
    clients: ClientVersions,
    metrics: RequestMetrics,
    memory: Arc<RequestMemory>,
    reader: Reader,
    settings: TransportSettings,
    runtime: Runtime,
}

impl Dispatch {
    pub(super) fn new(
        methods: Vec<Handler>,
        others: Vec<(&'static str, Handler)>,
        clients: ClientVersions,
        memory: Arc<RequestMemory>,
        settings: TransportSettings,
        runtime: Runtime,
    ) -> Self {
        let metrics = RequestMetrics::new(crate::methods::methods().rows().iter().map(|method| method.name));
        let reader = Reader::new(settings.clone(), runtime.clone());
        Self(Arc::new(Routes { methods, others, clients, metrics, memory, reader, settings, runtime }))
    }
}

impl Service<Request<Body>> for Dispatch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let routes = Arc::clone(&self.0);
        let charged = Charged::take(&mut request);
        let in_progress = match request.extensions().get().map(ConnectionInfo::begin) {
            Some(None) => return Box::pin(async { Ok(closing()) }),
            counted => counted.flatten(),
        };
        Box::pin(async move { Ok(holding(routes.answer(request, charged).await, in_progress)) })
    }
}

impl Routes {
    async fn answer(&self, request: Request<Body>, charged: Charged) -> Response<Body> {
        let path = request.uri().path();
        if let Some(number) = methods().number(path) {
            let began = self.runtime.now();
            let response = match self.refusal(&request) {
                Some(refusal) => refusal,
                None => self.guarded(number, request, charged).await,
            };
            self.metrics.record(number, self.runtime.now().since(began), &response);
            return response;
        }
        let (service, method) = split_path(path);
        match self.others.iter().find(|(name, _)| *name == service) {
            Some((_, handler)) => match self.refusal(&request) {
                Some(refusal) => refusal,
                None => self.small(handler.clone(), request, charged).await,
            },
            None => unknown(service, method),
        }
    }

    /// The answer to a client that does not go together with this server, before anything of its message is read.
    fn refusal(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let mismatch = self.clients.check(request.headers()).err()?;
        Some(mismatch_to_status(&mismatch, self.settings.error_message_chars).into_http())
    }

    /// Runs a handler until the caller stops waiting. The transport would drop it then as well, but call it CANCELLED.
    async fn guarded(&self, number: usize, mut request: Request<Body>, charged: Charged) -> Response<Body> {
        let header = request.headers().get("grpc-timeout").and_then(|value| value.to_str().ok());
        let timeout = header.and_then(parse_timeout);
        let account = Account::new(self.memory.request(charged.memory));
        // Dropped with what it holds in every case but one: there is a response, and a caller to write it to.
        let receipts = ReceiptSlot::default();
        let deadline = timeout.map(|timeout| self.runtime.now() + timeout - DEADLINE_MARGIN.min(timeout / 5));
        request.extensions_mut().insert(Received { deadline, receipts: receipts.clone() });
        let answer = async {
            match self.read(number, request, &account).await {
                Ok(request) => {
                    let handled = caught(self.methods[number].clone().oneshot(request));
                    account.watch(handled).await
                }
                Err(status) => status.into_http(),
            }
        };
        let response = match timeout {
            None => Some(answer.await),
            Some(timeout) => self.runtime.timeout(timeout, answer).await,
        };
        match response {
            Some(response) => {
                notify_on_write(self.leaving(response, &account, charged.unwritten).await, receipts.take())
            }
            None => Status::deadline_exceeded("the caller's deadline passed before there was an answer").into_http(),
        }
    }

    /// `request`, once its message has been read and found to fit.
    async fn read(&self, number: usize, request: Request<Body>, account: &Account) -> Result<Request<Body>, Status> {
        let (mut head, body) = request.into_parts();
        let gzip = match head.headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
            None | Some(b"identity") => false,
            Some(b"gzip") => true,
            // Refused where it is handled, unread.
            Some(_) => return Ok(Request::from_parts(head, Body::empty())),
        };
        let message = self.reader.read(number, body, gzip, account).await?;
        let body = message.into_body(&mut head.extensions);
        Ok(Request::from_parts(head, body))
    }

    /// `response`, charged in place of its request.
    async fn leaving(&self, response: Response<Body>, account: &Account, unwritten: Arc<Unwritten>) -> Response<Body> {
        match answer::unary(response, account, unwritten).await {
            Ok(response) => response,
            Err(error) => to_status(&error, self.settings.error_message_chars).into_http(),
        }
    }

    /// Runs a handler of a small service. These answer streams too: a deadline there is the business of the transport.
    async fn small(&self, handler: Handler, request: Request<Body>, charged: Charged) -> Response<Body> {
        let TransportSettings { stalled_within, error_message_chars, .. } = self.settings;
        let Charged { memory, unwritten } = charged;
        let (coming, leaving) = (self.memory.request(memory.clone()), self.memory.request(memory));
        let request = request
            .map(|body| Announced::body(body, coming, stalled_within, error_message_chars, self.runtime.clone()));
        answer::streamed(caught(handler.oneshot(request)).await, leaving, unwritten)
    }
}

/// What a request's connection is charged with.
#[derive(Default)]
struct Charged {
    memory: ConnectionShare,
    unwritten: Arc<Unwritten>,
}

impl Charged {
    /// Adds what is known of the connection to the request.
    fn take(request: &mut Request<Body>) -> Self {
        let extensions = request.extensions_mut();
        let Some(ConnectInfo { memory, unwritten, inner }) = extensions.remove::<ConnectInfo<ConnectionInfo>>() else {
            return Self::default();
        };
        extensions.insert(inner);
        Self { memory, unwritten }
    }
}

/// A panic is a bug in us: its caller gets INTERNAL, other requests on the connection go on.
async fn caught(answer: impl Future<Output = Result<Response<Body>, Infallible>>) -> Response<Body> {
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(message, "a handler panicked");
            metrics::counter!("outlast_frontend_panics_total").increment(1);
            Status::internal("a bug in the server: the request's handler panicked").into_http()
        }
    }
}

/// Seldom read: the connection ends before that.
fn closing() -> Response<Body> {
    Status::unavailable("the connection is being closed since there are too many, try again").into_http()
}

fn unknown(service: &str, method: &str) -> Response<Body> {
    Status::unimplemented(texts::unknown_method(service, method)).into_http()
}

/// `/package.Service/Method`, in its two parts.
fn split_path(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use calls::Receipt;
    use http_body_util::{BodyExt, Full};
    use ids::Timestamp;
    use tonic::Code;

    use super::*;
    use crate::memory::Bounds;

    /// The body of a request whose message is empty.
    fn empty() -> Body {
        Body::new(Full::new(Bytes::from_static(&[0; 5])))
    }

    fn all_answered_by(handler: Handler) -> Vec<Handler> {
        methods().rows().iter().map(|_| handler.clone()).collect()
    }

    #[test]
    fn paths_are_a_service_and_a_method() {
        assert_eq!(split_path("/grpc.health.v1.Health/Check"), ("grpc.health.v1.Health", "Check"));
        assert_eq!(split_path("/a/b/c"), ("a/b", "c"));
        assert_eq!(split_path("/nothing"), ("", "nothing"));
        assert_eq!(split_path(""), ("", ""));
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_is_dropped_at_its_callers_deadline_and_the_caller_gets_deadline_exceeded() {
        let runtime = Runtime::virtual_from(Timestamp::from_millis(1_000_000));
        let stuck = tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
        let mut dispatch = Dispatch::new(
            all_answered_by(Handler::new(stuck)),
            Vec::new(),
            ClientVersions::new("1.0.0").unwrap(),
            RequestMemory::new(Bounds::of(&TransportSettings::default())),
            TransportSettings::default(),
            runtime.clone(),
        );
        let request = Request::builder()
            .uri("/temporal.api.workflowservice.v1.WorkflowService/QueryWorkflow")
            .header("grpc-timeout", "1500m")
            .body(empty())
            .unwrap();
        let began = runtime.now();
        let response = dispatch.call(request).await.unwrap();
        assert_eq!(runtime.now().since(began), Duration::from_millis(1500));
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }

    struct Noted(tokio::sync::mpsc::UnboundedSender<&'static str>);

    impl Receipt for Noted {
        fn written(self: Box<Self>) {
            self.0.send("written").unwrap();
        }
    }

    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.send("dropped").unwrap();
        }
    }

    #[tokio::test]
    async fn a_handlers_receipt_hears_whether_its_response_was_written() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let hands_out = tower::service_fn(move |request: Request<Body>| {
            let receipt = Noted(sender.clone());
            async move {
                request.extensions().get::<Received>().unwrap().receipts.put(Box::new(receipt));
                Ok(Response::new(Body::new(Full::new(Bytes::from_static(b"a task")))))
            }
        });
        let mut dispatch = Dispatch::new(
            all_answered_by(Handler::new(hands_out)),
            Vec::new(),
            ClientVersions::new("1.0.0").unwrap(),
            RequestMemory::new(Bounds::of(&TransportSettings::default())),
            TransportSettings::default(),
            Runtime::system(),
        );
        let mut call = || {
            let path = "/temporal.api.workflowservice.v1.WorkflowService/PollWorkflowTaskQueue";
            dispatch.call(Request::builder().uri(path).body(empty()).unwrap())
        };
        let response = call().await.unwrap();
        assert!(receiver.try_recv().is_err(), "neither, as yet");
        drop(response);
        assert_eq!(receiver.recv().await, Some("dropped"));
        call().await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(receiver.recv().await, Some("written"));
    }
}
