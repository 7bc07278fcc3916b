//! The ports, as calls to the threads.

mod log;
mod registry;
mod table;

use storage::{StorageError, StorageResult};
use tokio::sync::oneshot;

use crate::command::{Answer, Command};
use crate::error::closed;
use crate::reader::Request;
use crate::store::Shared;

/// Why the writer did not answer.
enum Unanswered {
    /// The store was closed already: it did not happen.
    Refused,
    /// The store failed: it may have happened.
    Lost,
}

impl From<Unanswered> for StorageError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Refused => closed(),
            Unanswered::Lost => StorageError::Unknown("the store failed while writing".to_owned()),
        }
    }
}

impl Shared {
    /// Has the writer carry out a command, and waits for its commit.
    async fn command<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Unanswered> {
        let (answer, answered) = oneshot::channel();
        if !self.commands.push(command(answer)) {
            return Err(Unanswered::Refused);
        }
        answered.await.map_err(|_| Unanswered::Lost)
    }

    /// Has a reader answer a request.
    async fn request<T>(&self, request: impl FnOnce(oneshot::Sender<StorageResult<T>>) -> Request) -> StorageResult<T> {
        let (answer, answered) = oneshot::channel();
        if !self.requests.push(request(answer)) {
            return Err(closed());
        }
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}
