//! Where a panic of a kind ends: at the entity that it struck, not at the shard.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f`; a panic becomes its message. Whatever `f` was changing must not be used again after a panic.
pub(crate) fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
    })
}
