//! Workflows from start to close through history and matching, joined as the server joins them, on virtual time. The
//! workers here are raw: they decide from the events that they are given, like an SDK without its cache.

#[path = "workflows/activities.rs"]
mod activities;
#[path = "workflows/chaos.rs"]
mod chaos;
#[path = "workflows/children.rs"]
mod children;
#[path = "workflows/clocks.rs"]
mod clocks;
#[path = "workflows/commands.rs"]
mod commands;
#[path = "workflows/crashes.rs"]
mod crashes;
#[path = "workflows/histories.rs"]
mod histories;
#[path = "workflows/queries.rs"]
mod queries;
#[path = "workflows/rig.rs"]
mod rig;
#[path = "workflows/signals.rs"]
mod signals;
#[path = "workflows/timers.rs"]
mod timers;
