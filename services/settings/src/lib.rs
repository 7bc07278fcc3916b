//! The services' settings, with their units and where they come from. Each service has its own struct;
//! [`Default`] gives what clients of the API have come to rely on (docs: "limits").
//!
//! Absent on purpose: reading files, flags or environment. `server` decides where values come from and hands structs
//! over, so a test can set any of them in one line.
//!
//! Start at [`FrontendSettings`].

mod frontend;
mod history;
mod limits;
mod matching;
mod membership;
mod memory;
mod remote;

pub use frontend::{
    AdmissionSettings, FrontendSettings, LongPollSettings, NamespaceSettings, QuotaSettings, TransportSettings,
};
pub use history::HistorySettings;
pub use limits::RequestLimits;
pub use matching::MatchingSettings;
pub use membership::MembershipSettings;
pub use memory::{LEAST_MEMORY, MemoryParts};
pub use remote::RemoteSettings;

/// One kibibyte, in bytes.
pub const KIB: usize = 1024;
/// One mebibyte, in bytes.
pub const MIB: usize = 1024 * KIB;
