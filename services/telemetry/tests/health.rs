//! The endpoints over a real connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use runtime::Runtime;
use telemetry::health::{HealthBoard, Metrics, PartState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Served {
    address: SocketAddr,
    board: HealthBoard,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

/// A loopback address that nothing but one test uses, so that its ports are free, and stay so when they are given back.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let [.., third, fourth] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 240 + NEXT.fetch_add(1, Ordering::Relaxed) % 2, third, fourth).into()
}

async fn served(metrics: Option<Metrics>) -> Served {
    let listener = TcpListener::bind((own_address(), 0)).await.unwrap();
    let (address, board, shutdown) = (listener.local_addr().unwrap(), HealthBoard::new(), CancellationToken::new());
    let runtime = Runtime::system();
    let serving =
        runtime.spawn(telemetry::health::serve(listener, board.clone(), metrics, shutdown.clone(), runtime.clone()));
    Served { address, board, shutdown, serving }
}

impl Served {
    async fn ask(&self, request: &str) -> String {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Status line's code and body.
    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

#[tokio::test]
async fn the_endpoints_follow_the_board() {
    let served = served(None).await;
    served.board.set("history", PartState::Starting("2 of 4 shards are open".into()));
    assert_eq!(served.get("/health/live").await, (200, "{\"live\":true,\"reasons\":[]}\n".into()));
    let reasons = "\"reasons\":[{\"part\":\"history\",\"state\":\"starting\",\"why\":\"2 of 4 shards are open\"}]";
    assert_eq!(served.get("/health/startup").await, (503, format!("{{{reasons},\"started\":false}}\n")));
    assert_eq!(served.get("/health/ready").await.0, 503);
    served.board.set("history", PartState::Ready);
    served.board.started();
    assert_eq!(served.get("/health/startup").await.0, 200);
    assert_eq!(served.get("/health/ready?verbose").await, (200, "{\"ready\":true,\"reasons\":[]}\n".into()));
    served.board.draining();
    let (status, body) = served.get("/health/ready").await;
    assert_eq!(status, 503);
    assert!(body.contains("\"state\":\"draining\""), "{body}");
    served.board.set("frontend", PartState::Failed("gone".into()));
    assert_eq!(served.get("/health/live").await.0, 503);
}

#[tokio::test]
async fn metrics_are_rendered_anew_for_each_request() {
    let count = std::sync::atomic::AtomicU64::new(0);
    let metrics: Metrics =
        Arc::new(move || format!("asked {}\n", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
    let served = served(Some(metrics)).await;
    assert_eq!(served.get("/metrics").await, (200, "asked 0\n".into()));
    assert_eq!(served.get("/metrics").await, (200, "asked 1\n".into()));
    let answer = served.ask("GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{answer}");
}

#[tokio::test]
async fn what_is_not_asked_well_is_refused() {
    let served = served(None).await;
    assert_eq!(served.get("/metrics").await.0, 404, "no metrics are kept");
    assert_eq!(served.get("/").await.0, 404);
    assert_eq!(served.get("/health/live/x").await.0, 404);
    for (request, expected) in [
        ("POST /health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi", "405"),
        ("DELETE /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let answer = served.ask(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{request:?}: {answer}");
    }
    let endless = format!("GET /health/live HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(64 * 1024));
    let mut connection = TcpStream::connect(served.address).await.unwrap();
    let _ = connection.write_all(endless.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let head = served.ask("HEAD /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
}

#[tokio::test]
async fn silent_connections_do_not_keep_it_from_ending() {
    let served = served(None).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    assert_eq!(served.get("/health/live").await.0, 200, "others are answered meanwhile");
    served.shutdown.cancel();
    let ended = Runtime::system().timeout(Duration::from_secs(20), served.serving).await;
    assert!(ended.is_some_and(|ended| ended.is_ok()), "it goes on");
    assert!(TcpStream::connect(served.address).await.is_err());
}
