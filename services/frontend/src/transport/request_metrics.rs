//! Counts and times requests, by RPC.

use std::time::Duration;

use http::Response;
use metrics::{Counter, Histogram};
use tonic::body::Body;

/// Handles made once, so that counting a request costs an addition.
pub(super) struct RequestMetrics {
    rpcs: Vec<Rpc>,
}

struct Rpc {
    name: &'static str,
    requests: Counter,
    seconds: Histogram,
}

impl RequestMetrics {
    pub(super) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        let rpcs = names.map(|name| Rpc {
            name,
            requests: metrics::counter!("outlast_frontend_requests_total", "rpc" => name),
            seconds: metrics::histogram!("outlast_frontend_request_seconds", "rpc" => name),
        });
        Self { rpcs: rpcs.collect() }
    }

    /// Counts the answer to the `number`th method.
    pub(super) fn record(&self, number: usize, took: Duration, response: &Response<Body>) {
        let Some(rpc) = self.rpcs.get(number) else { return };
        rpc.requests.increment(1);
        rpc.seconds.record(took.as_secs_f64());
        // An answer carries its status in trailers; only a refusal has it here.
        if let Some(status) = response.headers().get("grpc-status")
            && let Ok(code) = status.to_str()
            && code != "0"
        {
            let code = code.to_owned();
            metrics::counter!("outlast_frontend_errors_total", "rpc" => rpc.name, "code" => code).increment(1);
        }
    }
}
