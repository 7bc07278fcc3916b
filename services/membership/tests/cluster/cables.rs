//! A cable between processes that a test can cut: relays TCP, and on demand neither accepts nor passes anything on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Listens at one address and relays to another.
pub struct Cable {
    pub address: SocketAddr,
    cut: watch::Sender<bool>,
    relay: JoinHandle<()>,
}

impl Cable {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let cut = watch::Sender::new(false);
        let watching = Arc::new(cut.subscribe());
        #[allow(clippy::disallowed_methods, reason = "a relay is part of the world outside")]
        let relay = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(relay(near, target, watch::Receiver::clone(&watching)));
            }
        });
        Self { address, cut, relay }
    }

    /// As if packets were dropped: neither side gets an error, nothing arrives.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

async fn relay(near: TcpStream, target: SocketAddr, cut: watch::Receiver<bool>) {
    whole(&cut).await;
    let Ok(far) = TcpStream::connect(target).await else { return };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(copy(near_read, far_write, cut.clone()), copy(far_read, near_write, cut));
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        whole(&cut).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn whole(cut: &watch::Receiver<bool>) {
    let mut cut = cut.clone();
    if cut.wait_for(|cut| !cut).await.is_err() {
        // The cable is gone; so are its ends.
        #[allow(clippy::disallowed_methods, reason = "a relay is part of the world outside")]
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
