//! Hearing whether an answer left.
//!
//! An answer that hands something out is not the end of it: between a handler's return and the first byte on the wire its
//! caller may turn out to be gone. The component that writes answers puts a slot into the call's context; the service that
//! hands something out leaves a receipt there.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Something that was handed out and can be taken back. Dropped without [`Receipt::written`], it is taken back.
pub trait Receipt: Send {
    /// It went out with the answer.
    fn written(self: Box<Self>);
}

/// The place for one call's receipt.
#[derive(Clone, Default)]
pub struct ReceiptSlot(Arc<Mutex<Option<Box<dyn Receipt>>>>);

impl ReceiptSlot {
    /// Leaves a receipt.
    pub fn put(&self, receipt: Box<dyn Receipt>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(receipt);
    }

    /// The receipt that was left.
    pub fn take(&self) -> Option<Box<dyn Receipt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for ReceiptSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptSlot")
    }
}
