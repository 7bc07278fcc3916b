//! An accepted connection's bytes. It ends when its handshake is not whole in time, and when its place goes to another.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

use super::handshake::Handshake;
use super::open::{ConnectionInfo, Place, count_closed};

/// An accepted connection.
pub(in crate::transport) struct Connection {
    stream: TcpStream,
    shaking_hands: Option<ShakingHands>,
    place: Place,
}

struct ShakingHands {
    handshake: Handshake,
    /// When it must be whole.
    deadline: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// How a connection ends by our decision.
enum End {
    /// Another connection has its place.
    Closed,
    /// Its handshake took too long.
    Late,
}

impl Connection {
    /// A connection that must have completed its handshake by `deadline`.
    pub(super) fn new(stream: TcpStream, place: Place, deadline: impl Future<Output = ()> + Send + 'static) -> Self {
        let deadline = Box::pin(deadline);
        let shaking_hands = Some(ShakingHands { handshake: Handshake::default(), deadline });
        Self { stream, shaking_hands, place }
    }

    /// Whether it is to end now. If not, its task is woken when that changes.
    fn ended(&mut self, cx: &mut Context<'_>) -> Option<End> {
        self.place.info.wake(cx.waker());
        if self.place.info.is_closing() {
            return Some(End::Closed);
        }
        let late = self.shaking_hands.as_mut().is_some_and(|shaking| shaking.deadline.as_mut().poll(cx).is_ready());
        late.then_some(End::Late)
    }

    /// A write that cannot go on ends with the connection.
    fn or_ended<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match written {
            Poll::Pending if self.ended(cx).is_some() => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            written => written,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;
    fn connect_info(&self) -> ConnectionInfo {
        self.place.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.ended(cx) {
            // As though the peer had closed it.
            Some(End::Closed) => return Poll::Ready(Ok(())),
            Some(End::Late) => {
                count_closed("handshake");
                let late = "the peer did not complete its handshake in time";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)));
            }
            None => {}
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Some(shaking) = &mut this.shaking_hands
            && shaking.handshake.arrived(&buffer.filled()[before..])
        {
            this.shaking_hands = None;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.or_ended(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.or_ended(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.or_ended(shut, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.or_ended(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
