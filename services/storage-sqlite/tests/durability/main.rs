//! Nothing that was acknowledged is lost: not when the process dies at any moment, not when the machine does.
//!
//! The power cuts and the failing disk come from a shim between SQLite and the file system, which is a C
//! interface, hence the unsafe code in `vfs`.

mod crash;
mod failing_disk;
mod power_cut;
mod vfs;
mod workload;
