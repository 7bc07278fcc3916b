//! When the process has no file descriptors left.

use std::sync::{Arc, Mutex};

use ids::Timestamp;
use tokio::io::AsyncReadExt;
use tonic::transport::server::Connected;

use super::*;

/// EMFILE.
const NO_DESCRIPTORS: i32 = 24;

/// Collects log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn without_descriptors_an_unused_connection_goes_and_one_line_in_ten_seconds_is_logged() {
    let lines = Lines::default();
    let collected = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || collected.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = Runtime::virtual_from(Timestamp::from_millis(1_000_000));
    let mut acceptor = Acceptor::new(&TransportSettings::default(), runtime.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut accepted = Vec::new();
    for _ in 0..2 {
        let (peer, stream) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        accepted.push((peer.unwrap(), acceptor.accepted(stream).await.unwrap()));
    }
    let in_use = accepted[0].1.connect_info().begin().unwrap();
    let failure = || Err(std::io::Error::from_raw_os_error(NO_DESCRIPTORS));
    assert!(acceptor.accepted(failure()).await.is_none());
    let mut bytes = Vec::new();
    accepted[1].1.read_to_end(&mut bytes).await.expect("it ends, as though its peer had closed it");
    for _ in 0..299 {
        assert!(acceptor.accepted(failure()).await.is_none());
    }
    let logged = lines.text();
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(logged[0].contains("failures=1"), "{logged:?}");
    runtime.sleep(Duration::from_secs(10)).await;
    assert!(acceptor.accepted(failure()).await.is_none());
    let logged = lines.text();
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert!(logged[1].contains("failures=300"), "{logged:?}");
    let (_peer, stream) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    assert!(acceptor.accepted(stream).await.is_some(), "accepting goes on");
    drop(in_use);
}
