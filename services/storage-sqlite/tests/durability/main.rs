//! Nothing that was acknowledged is lost: not when the process dies at any moment, not when the machine does.
//!
//! The power cuts and the failing disk come from a shim between SQLite and the file system, which only C can be told
//! about, hence the unsafe code in `vfs`.

mod crash;
mod failing_disk;
mod power_cut;
mod vfs;
mod workload;
