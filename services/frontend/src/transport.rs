//! HTTP/2 and gRPC: the server, and the layer between it and the handlers.

mod announced;
mod answer;
mod connections;
mod dispatch;
mod holding;
mod incoming;
mod notify_on_write;
mod oversize;
mod reflection;
mod request_metrics;
mod server;
mod unwritten;
mod watched;
