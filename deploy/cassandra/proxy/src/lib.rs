//! A proxy for the CQL native protocol (v3 and v4) that stands between a driver and its nodes and injects faults.
//!
//! It reads just enough of each request to know whether it is conditional (a lightweight transaction), a plain write or
//! a read, also when it is prepared or a batch, and lets [`Rule`]s decide by lot what becomes of it: its reply is lost or
//! late, it is answered with a timeout although it was carried out, or will be later, or never is; its connection breaks.
//! A whole node can be made unreachable in three ways ([`NodeMode`]), for everyone or for one process. What was seen and
//! done is counted, and so is a conditional request that came more than once with the very same bytes.
//!
//! Absent on purpose: it is no driver and no balancer, one listening address is one node. It does not rewrite what nodes
//! say about themselves, so they must be started with the proxy's addresses as their `broadcast_rpc_address`
//! (`deploy/cassandra/cassandra start --proxied`); otherwise drivers find their way around it. Compressed bodies and
//! other protocols pass through unread, and no rule meets them; modes do, so it also stands between gRPC peers (the
//! client has to speak first). The seed fixes the lots, not the order in which concurrent requests draw them.
//!
//! Start reading at [`Proxy::start`], then `connection.rs`.

mod connection;
mod control;
mod control_socket;
mod counts;
mod frame;
mod prepared;
mod proxy;
mod request;
mod rule;
mod source;
mod statement;

pub use control::ProxyControl;
pub use control_socket::{Command, serve_control};
pub use counts::{Counts, Resent};
pub use proxy::{Proxy, Route};
pub use rule::{Class, Fault, Forward, NodeMode, Rule};
