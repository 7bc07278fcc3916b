//! The metrics endpoint: what a Prometheus server reads.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::catalogue;

/// Upper bounds of duration histograms (names that end in `_seconds`), in seconds: from what one in-memory decision takes
/// to the longest poll.
pub const DURATION_BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 120.0,
];

/// Upper bounds of size histograms (names that end in `_bytes`), in bytes.
pub const SIZE_BUCKETS: &[f64] =
    &[256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];

/// Serves metrics over HTTP at `addr` and makes their recorder the process's own. Must be called inside a tokio runtime,
/// once. Fails when the address is taken or a recorder exists.
pub fn serve_metrics(addr: SocketAddr) -> Result<()> {
    builder()?.with_http_listener(addr).install().with_context(|| format!("serve metrics at {addr}"))?;
    catalogue::describe();
    Ok(())
}

/// Makes a recorder the process's own without serving it; its text is read with [`PrometheusHandle::render`].
pub fn install_recorder() -> Result<PrometheusHandle> {
    let recorder = builder()?.install_recorder().context("install the metrics recorder")?;
    catalogue::describe();
    Ok(recorder)
}

fn builder() -> Result<PrometheusBuilder> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), DURATION_BUCKETS)
        .context("set the duration buckets")?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), SIZE_BUCKETS)
        .context("set the size buckets")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{CATALOGUE, Metric, MetricKind};

    #[test]
    fn the_endpoint_says_what_each_metric_is_and_has_our_buckets() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        {
            let _inside = runtime.enter();
            serve_metrics(address).unwrap();
        }
        for metric in CATALOGUE {
            match metric.kind {
                MetricKind::Counter => metrics::counter!(metric.name).increment(3),
                MetricKind::Gauge => metrics::gauge!(metric.name).set(3),
                MetricKind::Histogram => metrics::histogram!(metric.name).record(0.003),
            }
        }

        let mut connection = connect(address);
        connection.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        connection.read_to_string(&mut page).unwrap();
        assert!(page.contains("outlast_matching_polls_total 3"), "{page}");
        assert!(page.contains("outlast_cql_request_seconds_bucket{le=\"0.0025\"} 0"), "{page}");
        assert!(page.contains("outlast_cql_request_seconds_bucket{le=\"0.005\"} 1"), "{page}");
        for Metric { name, kind, help, .. } in CATALOGUE {
            let kind = format!("{kind:?}").to_lowercase();
            for line in [format!("# HELP {name} {help}"), format!("# TYPE {name} {kind}")] {
                assert!(page.lines().any(|shown| shown == line), "{line:?} is missing in {page}");
            }
        }
    }

    /// The listener is bound by a task of the runtime: it may take a moment.
    fn connect(address: SocketAddr) -> TcpStream {
        for _ in 0..2000 {
            if let Ok(connection) = TcpStream::connect(address) {
                return connection;
            }
            std::thread::yield_now();
        }
        TcpStream::connect(address).unwrap()
    }
}
