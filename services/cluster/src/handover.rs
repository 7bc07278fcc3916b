//! Telling whoever answers a call whether the answer left.
//!
//! An answer that hands something out is not the end of it: between a handler's return and the first byte on the wire
//! its caller may turn out to be gone. Whoever writes answers runs the handler in a [`Handover`]; whoever hands something
//! out leaves a receipt there. Outside one, an answer counts as written when it is returned.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

tokio::task_local! {
    static CURRENT: Handover;
}

/// Something that was handed out and can be taken back. Dropped without [`Receipt::written`], it is taken back.
pub trait Receipt: Send {
    /// It went out with the answer.
    fn written(self: Box<Self>);
}

/// The place for one call's receipt.
#[derive(Clone, Default)]
pub struct Handover(Arc<Mutex<Option<Box<dyn Receipt>>>>);

impl Handover {
    /// Runs a handler, whose receipt, if it leaves one, is here afterwards.
    pub async fn watch<T>(&self, handler: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), handler).await
    }

    /// The receipt that the handler left.
    pub fn take(&self) -> Option<Box<dyn Receipt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Leaves a receipt with whoever writes this call's answer. If nobody does, the answer counts as written.
    pub fn leave(receipt: Box<dyn Receipt>) {
        match CURRENT.try_with(Self::clone) {
            Ok(Self(place)) => *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(receipt),
            Err(_) => receipt.written(),
        }
    }
}
