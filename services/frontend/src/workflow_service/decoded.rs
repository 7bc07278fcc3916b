//! A request that the transport has decoded already, since it is large, on its way to its handler.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::Request;

/// A decoded message. Goes along with a request as an extension, which must be `Clone`; the first to ask gets it.
#[derive(Clone)]
pub(crate) struct Decoded(Arc<Mutex<Option<Box<dyn Any + Send>>>>);

impl Decoded {
    pub(crate) fn new(message: impl Any + Send) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(message)))))
    }

    fn take<T: 'static>(&self) -> Option<T> {
        let message = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        message.downcast().ok().map(|message| *message)
    }
}

/// The message of `request`: the one that was decoded before, if one was.
pub(super) fn message<T: 'static>(request: Request<T>) -> T {
    let (_, extensions, message) = request.into_parts();
    extensions.get::<Decoded>().and_then(Decoded::take).unwrap_or(message)
}
