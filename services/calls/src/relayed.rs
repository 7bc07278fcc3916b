//! Messages that are passed on.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::wire::unreadable;
use crate::{ServiceResult, Wire};

/// A message that some component passes on without a look at it: a task with its history on its way through matching. Within
/// a process it is the message itself; between processes it stays as it came, and is decoded where it is opened.
#[derive(Clone)]
pub struct Relayed<T> {
    message: Form<T>,
    /// Fields that were added on the way, encoded.
    added: Bytes,
}

#[derive(Clone)]
enum Form<T> {
    Made(Box<T>),
    Encoded(Bytes),
}

impl<T: Message + Default> Relayed<T> {
    /// A message of this process.
    pub fn new(message: T) -> Self {
        Self { message: Form::Made(Box::new(message)), added: Bytes::new() }
    }

    /// Sets those fields that `fields` sets; what is in others is ignored. Lists and maps grow.
    pub fn add(&mut self, fields: &T) {
        let mut added = BytesMut::from(&*self.added);
        added.reserve(fields.encoded_len());
        fields.encode_raw(&mut added);
        self.added = added.freeze();
    }

    /// The message.
    ///
    /// # Errors
    /// Internal when it was encoded by a node of another release in a way that this one cannot read.
    pub fn open(self) -> ServiceResult<T> {
        let mut message = match self.message {
            Form::Made(message) => *message,
            Form::Encoded(bytes) => T::decode(bytes).map_err(|error| unreadable(&error))?,
        };
        if !self.added.is_empty() {
            message.merge(self.added).map_err(|error| unreadable(&error))?;
        }
        Ok(message)
    }
}

impl<T: Message + Default> Default for Relayed<T> {
    fn default() -> Self {
        Self { message: Form::Encoded(Bytes::new()), added: Bytes::new() }
    }
}

/// Fields that come later in an encoding win, so what was added goes behind.
impl<T: Message + Default + 'static> Wire for Relayed<T> {
    fn to_bytes(&self) -> Bytes {
        let mut bytes = match &self.message {
            Form::Encoded(bytes) if self.added.is_empty() => return bytes.clone(),
            Form::Encoded(bytes) => {
                let mut all = BytesMut::with_capacity(bytes.len() + self.added.len());
                all.put_slice(bytes);
                all
            }
            Form::Made(message) => {
                let mut all = BytesMut::with_capacity(message.encoded_len() + self.added.len());
                message.encode_raw(&mut all);
                all
            }
        };
        bytes.put_slice(&self.added);
        bytes.freeze()
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        Ok(Self { message: Form::Encoded(bytes), added: Bytes::new() })
    }
}

/// What it says when opened.
impl<T: Message + Default + Clone + PartialEq> PartialEq for Relayed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.clone().open().ok() == other.clone().open().ok()
    }
}

impl<T: Message + Default + Clone + fmt::Debug> fmt::Debug for Relayed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clone().open().ok().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use api::temporal::api::workflowservice::v1::PollWorkflowTaskQueueResponse;

    use super::*;

    #[test]
    fn what_a_relay_adds_is_there_at_the_end_whether_or_not_the_message_was_encoded_before() {
        let task = || PollWorkflowTaskQueueResponse { attempt: 3, backlog_count_hint: 1, ..Default::default() };
        let hint = PollWorkflowTaskQueueResponse { backlog_count_hint: 7, ..Default::default() };
        let expected = PollWorkflowTaskQueueResponse { attempt: 3, backlog_count_hint: 7, ..Default::default() };
        let made = Relayed::new(task());
        let encoded = Relayed::from_bytes(made.to_bytes()).unwrap();
        for mut relayed in [made, encoded] {
            relayed.add(&hint);
            let further = Relayed::from_bytes(relayed.to_bytes()).unwrap();
            assert_eq!(relayed, further);
            assert_eq!(further.open().unwrap(), expected);
            assert_eq!(relayed.open().unwrap(), expected);
        }
    }
}
