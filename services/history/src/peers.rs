//! What one workflow tells another, wherever that lives: in this process if its shard is open here, else by way of the
//! node that serves it.
//!
//! Both ways end in the same place, [`HistoryService::tell`], which has room of its own and is never refused as overload.

mod message;

#[cfg(test)]
mod message_test;

use bytes::Bytes;
use calls::{CallContext, SendToWorkflow, ServiceError, ServiceResult};
use entities::{CallError, EntityKey};
use execution::{Rejection, Reply, RunRef, Started};

pub(crate) use self::message::{Message, Saying};
use crate::HistoryService;
use crate::kind::{Answer, WorkflowKind};

/// What another workflow answered to something that was owed to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// It was done. For a start: the run that was started, or found.
    Done {
        /// Empty for anything but a start.
        run_id: String,
    },
    /// It never will be.
    Refused(Rejection),
    /// Not now.
    Later,
}

impl HistoryService {
    /// Tells another workflow of the same namespace.
    pub(crate) async fn tell_other(
        &self,
        key: &EntityKey,
        workflow_id: &str,
        run: impl Into<RunRef>,
        saying: Saying,
    ) -> Told {
        let message = Message { run: run.into(), saying };
        let target = EntityKey::of::<WorkflowKind>(key.namespace.clone(), workflow_id);
        match told(self.tell(&target, message.clone().into_input()).await) {
            Err(CallError::NotOwner) => {}
            told => return told.unwrap_or(Told::Later),
        }
        let tell = SendToWorkflow { workflow_id: workflow_id.into(), message: message.encode() };
        let answered = self.peers.send_to_workflow(&CallContext::internal(&target.namespace), tell).await;
        match answered.map(Told::decode) {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => {
                tracing::error!(workflow = %target.id, namespace = %target.namespace, %error, "an answer cannot be read");
                Told::Later
            }
            Err(error) => {
                tracing::debug!(workflow = %target.id, namespace = %target.namespace, %error, "cannot deliver to a workflow yet, retrying");
                Told::Later
            }
        }
    }

    /// A workflow of another node has something to tell one of this node's.
    pub(crate) async fn told_by_peer(&self, key: &EntityKey, message: Bytes) -> ServiceResult<Bytes> {
        let message = Message::decode(message).map_err(ServiceError::InvalidArgument)?;
        match told(self.tell(key, message.into_input()).await) {
            Ok(told) => Ok(told.encode()),
            Err(error) => Err(crate::errors::refused(error)),
        }
    }
}

/// An error is one of this process, and says nothing about the workflow.
fn told(answer: Result<Answer, CallError<Rejection>>) -> Result<Told, CallError<Rejection>> {
    match answer {
        Ok(Err(rejection)) => Ok(Told::Refused(rejection)),
        Ok(Ok(Reply::Started(Started { run, .. }))) => Ok(Told::Done { run_id: run.core.run_id.clone() }),
        Ok(Ok(_)) => Ok(Told::Done { run_id: String::new() }),
        Err(CallError::Rejected(Rejection::NotYet(_))) => Ok(Told::Later),
        Err(CallError::Rejected(rejection)) => Ok(Told::Refused(rejection)),
        Err(CallError::Quarantined(reason)) => {
            Ok(Told::Refused(Rejection::NotFound(format!("the workflow cannot be read: {reason}"))))
        }
        Err(error @ (CallError::NotOwner | CallError::Overloaded { .. } | CallError::Unavailable(_))) => Err(error),
    }
}
