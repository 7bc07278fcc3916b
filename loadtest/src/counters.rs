//! Reads a Prometheus endpoint: one plain HTTP request, and the counters by name, summed over their labels.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Values by metric name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters(BTreeMap<String, f64>);

impl Counters {
    /// The present values. `address` is host:port; the path is `/metrics`.
    pub async fn scrape(address: &str) -> Result<Counters> {
        Ok(Counters::parse(&get(address, "/metrics").await?))
    }

    /// These counters and others, by name.
    pub fn add(&mut self, others: Counters) {
        for (name, value) in others.0 {
            *self.0.entry(name).or_insert(0.0) += value;
        }
    }

    fn parse(body: &str) -> Counters {
        let mut values = BTreeMap::new();
        for line in body.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let name = series.split('{').next().unwrap_or(series).trim();
            if let Ok(value) = value.parse::<f64>() {
                *values.entry(name.to_owned()).or_insert(0.0) += value;
            }
        }
        Counters(values)
    }

    /// How much a counter grew since `before`. None when the server does not have it.
    pub fn growth(&self, before: &Counters, name: &str) -> Option<f64> {
        let now = self.0.get(name)?;
        Some(now - before.0.get(name).copied().unwrap_or(0.0))
    }
}

/// The body of a page, if the answer is 200. `address` is host:port.
pub async fn get(address: &str, path: &str) -> Result<String> {
    let limit = Duration::from_secs(5);
    let text = tokio::time::timeout(limit, fetch(address, path))
        .await
        .with_context(|| format!("{path} at {address} did not answer"))??;
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        bail!("{path} at {address} sent no HTTP header");
    };
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200") {
        bail!("{path} at {address} answered {status:?}");
    }
    Ok(body.to_owned())
}

async fn fetch(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    // HTTP/1.0, so that the answer comes whole and unchunked and the connection ends with it.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_name_are_summed_and_comments_skipped() {
        let before = Counters::parse("a_total{shard=\"1\"} 2\na_total{shard=\"2\"} 3\n");
        let after = Counters::parse("# TYPE a_total counter\na_total{shard=\"1\"} 10\na_total{shard=\"2\"} 3\nb 1.5\n");
        assert_eq!(after.growth(&before, "a_total"), Some(8.0));
        assert_eq!(after.growth(&before, "b"), Some(1.5));
        assert_eq!(after.growth(&before, "c"), None);
    }
}
