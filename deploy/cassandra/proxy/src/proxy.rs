//! The listeners.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection;
use crate::control::ProxyControl;

/// Where the proxy listens for one node, and where that node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The address that drivers know. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The node's own.
    pub upstream: SocketAddr,
}

/// A running proxy. Dropping it closes its listeners and every connection.
pub struct Proxy {
    control: ProxyControl,
    addresses: Vec<SocketAddr>,
    _end: DropGuard,
}

impl Proxy {
    /// Listens for every route, in the runtime that calls. Nothing is harmed until rules are set.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on.
    pub async fn start(routes: &[Route], seed: u64) -> io::Result<Self> {
        let control = ProxyControl::new(seed, routes.len());
        let end = CancellationToken::new();
        let mut addresses = Vec::with_capacity(routes.len());
        for (node, route) in routes.iter().enumerate() {
            let listener = TcpListener::bind(route.listen)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", route.listen)))?;
            addresses.push(listener.local_addr()?);
            let task = accept(listener, node, *route, control.clone(), end.clone());
            tokio::spawn(end.clone().run_until_cancelled_owned(task));
        }
        Ok(Self { control, addresses, _end: end.drop_guard() })
    }

    /// The handle for rules, modes and counts.
    #[must_use]
    pub fn control(&self) -> ProxyControl {
        self.control.clone()
    }

    /// Where drivers connect, one address per route.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

async fn accept(listener: TcpListener, node: usize, route: Route, control: ProxyControl, end: CancellationToken) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors, most likely. Others may end meanwhile.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let connection = connection::serve(client, node, route, control.clone());
        tokio::spawn(end.clone().run_until_cancelled_owned(connection));
    }
}

#[cfg(test)]
#[path = "proxy_test.rs"]
mod tests;
