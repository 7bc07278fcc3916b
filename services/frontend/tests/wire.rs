//! The frontend over a real socket, with a real client. History and matching are doubles that record what reaches them:
//! here it matters what does, what does not, and what callers hear.
#![allow(deprecated)]

#[path = "wire/activities.rs"]
mod activities;
#[path = "wire/admission.rs"]
mod admission;
#[path = "wire/bad_requests.rs"]
mod bad_requests;
#[path = "wire/client_versions.rs"]
mod client_versions;
#[path = "wire/connections.rs"]
mod connections;
#[path = "wire/error_table.rs"]
mod error_table;
#[path = "wire/memory.rs"]
mod memory;
#[path = "wire/methods.rs"]
mod methods;
#[path = "wire/namespaces.rs"]
mod namespaces;
#[path = "wire/neighbours.rs"]
mod neighbours;
#[path = "wire/operators.rs"]
mod operators;
#[path = "wire/polls.rs"]
mod polls;
#[path = "wire/raw.rs"]
mod raw;
#[path = "wire/server.rs"]
mod server;
#[path = "wire/sizes.rs"]
mod sizes;
#[path = "wire/tokens.rs"]
mod tokens;
