//! A store behind a proxy of its own, so that each test disturbs its own requests only.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use cql_proxy::{Fault, Forward, Proxy, ProxyControl, Route, Rule};
use runtime::Runtime;
use storage_cql::{CqlSettings, CqlStore, Timeouts};

/// What the database was asked to do, and how it went, is decided here.
pub struct Behind {
    pub store: CqlStore,
    pub control: ProxyControl,
    _proxy: Proxy,
}

/// A store that reaches the shared node through a proxy, and waits no longer than `timeout` for an answer.
pub async fn behind_proxy(settings: &CqlSettings, seed: u64, timeout: Duration) -> Behind {
    let proxy = proxy_before(&settings.contact_points, seed).await;
    let settings = CqlSettings {
        contact_points: proxy.addresses().iter().map(ToString::to_string).collect(),
        timeouts: Timeouts { conditional: timeout, read: timeout, write: timeout, ..settings.timeouts },
        ..settings.clone()
    };
    let store = CqlStore::connect(settings, Runtime::system()).await.expect("a store can be connected to");
    Behind { store, control: proxy.control(), _proxy: proxy }
}

/// A proxy before every node, on the nodes' own addresses and one port: the driver takes addresses from the nodes, and the
/// port from the contact point.
pub async fn proxy_before(nodes: &[String], seed: u64) -> Proxy {
    let nodes: Vec<SocketAddr> = nodes
        .iter()
        .map(|node| node.to_socket_addrs().expect("a node's address").next().expect("an address"))
        .collect();
    loop {
        let free = tokio::net::TcpListener::bind((nodes[0].ip(), 0)).await.expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let routes: Vec<Route> =
            nodes.iter().map(|&upstream| Route { listen: (upstream.ip(), port).into(), upstream }).collect();
        // Another process may have taken the port meanwhile.
        if let Ok(proxy) = Proxy::start(&routes, seed).await {
            return proxy;
        }
    }
}

impl Behind {
    /// Conditional writes that came twice, but for those that raise an epoch: a process that opens a log again after an unknown
    /// outcome sends the same raise as before, and means to.
    pub fn sent_twice(&self) -> Vec<String> {
        let resent = self.control.counts().resent.into_iter().map(|resent| resent.statement);
        resent.filter(|cql| !cql.contains("SET epoch = ?, owner = ?") && !cql.contains("IF epoch < ?")).collect()
    }

    /// The next request with this piece of CQL meets the fault.
    pub fn next(&self, piece: &str, fault: Fault) {
        let rule = Rule { class: None, ..Rule::new(cql_proxy::Class::Write, 1.0, fault) };
        self.control.set_rules(vec![rule.containing(piece).at_most(1)]);
    }
}

/// The ways in which a conditional write can end without an answer that says what happened.
pub fn unknown_outcomes() -> Vec<Fault> {
    let timeout = |forward| Fault::Timeout { forward, write_type: None };
    vec![
        Fault::DropReply,
        Fault::DropRequest,
        timeout(Forward::First),
        timeout(Forward::Never),
        timeout(Forward::Late { after_ms: 40 }),
        Fault::CasWriteUnknown { forward: Forward::First },
        Fault::Unavailable,
        Fault::Overloaded,
        Fault::Cut { forward: true },
        Fault::Cut { forward: false },
    ]
}
