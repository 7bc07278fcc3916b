//! A connection that ends once its peer leaves what it was given unread for too long, and what its requests know of it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use runtime::Runtime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use super::unwritten::Unwritten;
use crate::memory::{self, ConnectionShare};

/// What requests know of the connection that they come on.
#[derive(Clone)]
pub(super) struct ConnectInfo<I> {
    /// What its requests hold of memory.
    pub(super) memory: ConnectionShare,
    /// What it was given and has not written.
    pub(super) unwritten: Arc<Unwritten>,
    /// What is known of the connection itself.
    pub(super) inner: I,
}

/// A connection.
pub(super) struct Watched<C> {
    connection: C,
    memory: ConnectionShare,
    unwritten: Arc<Unwritten>,
    period: Period,
}

/// What is not written by the end of the period after the one in which it was given is too old.
struct Period {
    length: Duration,
    runtime: Runtime,
    passes: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// `connections`, each of which may leave a part of an answer unwritten for `within`, and for half as long again at most.
pub(super) fn watched<C>(
    connections: impl Stream<Item = io::Result<C>> + Send,
    within: Duration,
    runtime: Runtime,
) -> impl Stream<Item = io::Result<Watched<C>>> + Send {
    connections.map(move |accepted| {
        accepted.map(|connection| Watched {
            connection,
            memory: ConnectionShare::default(),
            unwritten: Arc::default(),
            period: Period::new(within / 2, runtime.clone()),
        })
    })
}

impl Period {
    fn new(length: Duration, runtime: Runtime) -> Self {
        let passes = Self::passing(length, runtime.clone());
        Self { length, runtime, passes }
    }

    fn passing(length: Duration, runtime: Runtime) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { runtime.sleep(length).await })
    }
}

impl<C> Watched<C> {
    /// `progress`, or the end of the connection.
    fn unless_stalled<T>(&mut self, progress: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            return progress;
        }
        while self.period.passes.as_mut().poll(cx).is_ready() {
            self.period = Period::new(self.period.length, self.period.runtime.clone());
            if !self.unwritten.pass() {
                memory::refused("unread");
                let unread = "the peer does not read what it asked for";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, unread)));
            }
        }
        Poll::Pending
    }
}

impl<C: Connected> Connected for Watched<C> {
    type ConnectInfo = ConnectInfo<C::ConnectInfo>;
    fn connect_info(&self) -> Self::ConnectInfo {
        let (memory, unwritten) = (self.memory.clone(), Arc::clone(&self.unwritten));
        ConnectInfo { memory, unwritten, inner: self.connection.connect_info() }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.connection).poll_read(cx, buffer);
        self.unless_stalled(read, cx)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.unless_stalled(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.connection).poll_flush(cx);
        self.unless_stalled(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.connection).poll_shutdown(cx);
        self.unless_stalled(shut, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(cx, slices);
        self.unless_stalled(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}

#[cfg(test)]
#[path = "watched_test.rs"]
mod tests;
