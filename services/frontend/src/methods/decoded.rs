//! A request that the transport has decoded already, since it is large, on its way to its handler.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::Request;

/// A decoded message. Goes along with a request as an extension, which must be `Clone`; the first taker gets it.
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

/// How long a request's message was before it was decoded, in bytes: goes along with it as an extension.
#[derive(Clone, Copy)]
pub(crate) struct MessageBytes(pub(crate) usize);

/// The message of `request`, which is the one that was decoded before, if one was; and its length.
pub(super) fn message<T: 'static>(request: Request<T>) -> (T, usize) {
    let (_, extensions, message) = request.into_parts();
    let bytes = extensions.get::<MessageBytes>().map_or(0, |bytes| bytes.0);
    (extensions.get::<Decoded>().and_then(Decoded::take).unwrap_or(message), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_one_that_was_decoded_before_and_as_long_as_it_came() {
        let mut request = Request::new(5_u32);
        assert_eq!(message(request), (5, 0));
        request = Request::new(0);
        request.extensions_mut().insert(MessageBytes(7));
        request.extensions_mut().insert(Decoded::new(6_u32));
        assert_eq!(message(request), (6, 7));
    }
}
