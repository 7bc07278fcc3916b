//! What each path answers.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::HealthBoard;
use super::board::Reason;

/// Renders the metrics of the process as Prometheus reads them.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The answer to one request.
pub(crate) fn answer(
    method: &Method,
    path: &str,
    board: &HealthBoard,
    metrics: Option<&Metrics>,
) -> Response<Full<Bytes>> {
    let known = matches!(path, "/health/live" | "/health/startup" | "/health/ready" | "/metrics");
    if known && method != Method::GET && method != Method::HEAD {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are allowed\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match (path, metrics) {
        ("/health/live", _) => verdict("live", board.against_living()),
        ("/health/startup", _) => verdict("started", board.against_started()),
        ("/health/ready", _) => verdict("ready", board.against_ready()),
        ("/metrics", Some(metrics)) => response(StatusCode::OK, PROMETHEUS, metrics()),
        ("/metrics", None) => text(StatusCode::NOT_FOUND, "this process keeps no metrics\n"),
        _ => text(
            StatusCode::NOT_FOUND,
            "nothing is here; there are /health/live, /health/startup, /health/ready and /metrics\n",
        ),
    }
}

fn verdict(name: &str, reasons: Vec<Reason>) -> Response<Full<Bytes>> {
    let good = reasons.is_empty();
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = response(status, JSON, format!("{}\n", json!({ name: good, "reasons": reasons })));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, PLAIN, text.to_owned())
}

fn response(status: StatusCode, kind: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
