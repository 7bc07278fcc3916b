//! Messages from one workflow to another, wherever that lives: in this process if its shard is open here, else by way of the
//! node that serves it.
//!
//! Both ways end in the same place, [`HistoryService::send_unshed`], which has room of its own and is never refused as overload.

mod message;

#[cfg(test)]
mod message_test;

use bytes::Bytes;
use calls::{CallContext, SendToWorkflow, ServiceError, ServiceResult};
use entities::{CallError, EntityKey};
use execution::{Rejection, Reply, RunRef, Started};

pub(crate) use self::message::{Message, MessageBody};
use crate::HistoryService;
use crate::kind::{Answer, WorkflowKind};

/// What another workflow answered to a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PeerReply {
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
    /// Sends a message to another workflow of the same namespace.
    pub(crate) async fn send_to_peer(
        &self,
        key: &EntityKey,
        workflow_id: &str,
        run: impl Into<RunRef>,
        body: MessageBody,
    ) -> PeerReply {
        let message = Message { run: run.into(), body };
        let target = EntityKey::of::<WorkflowKind>(key.namespace.clone(), workflow_id);
        match peer_reply(self.send_unshed(&target, message.clone().into_input()).await) {
            Err(CallError::NotOwner) => {}
            reply => return reply.unwrap_or(PeerReply::Later),
        }
        let sent = SendToWorkflow { workflow_id: workflow_id.into(), message: message.encode() };
        let answered = self.peers.send_to_workflow(&CallContext::internal(&target.namespace), sent).await;
        match answered.map(PeerReply::decode) {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                tracing::error!(workflow = %target.id, namespace = %target.namespace, %error, "cannot decode a peer's reply, retrying");
                PeerReply::Later
            }
            Err(error) => {
                tracing::debug!(workflow = %target.id, namespace = %target.namespace, %error, "cannot deliver to a workflow yet, retrying");
                PeerReply::Later
            }
        }
    }

    /// Gives a message from another node to a workflow of this node.
    pub(crate) async fn handle_peer_message(&self, key: &EntityKey, message: Bytes) -> ServiceResult<Bytes> {
        let message = Message::decode(message).map_err(ServiceError::InvalidArgument)?;
        match peer_reply(self.send_unshed(key, message.into_input()).await) {
            Ok(reply) => Ok(reply.encode()),
            Err(error) => Err(crate::errors::refused(error)),
        }
    }
}

/// Errors are of this process and say nothing about the workflow.
fn peer_reply(answer: Result<Answer, CallError<Rejection>>) -> Result<PeerReply, CallError<Rejection>> {
    match answer {
        Ok(Err(rejection)) => Ok(PeerReply::Refused(rejection)),
        Ok(Ok(Reply::Started(Started { run, .. }))) => Ok(PeerReply::Done { run_id: run.core.run_id.clone() }),
        Ok(Ok(_)) => Ok(PeerReply::Done { run_id: String::new() }),
        Err(CallError::Rejected(Rejection::NotYet(_))) => Ok(PeerReply::Later),
        Err(CallError::Rejected(rejection)) => Ok(PeerReply::Refused(rejection)),
        Err(CallError::Quarantined(reason)) => {
            Ok(PeerReply::Refused(Rejection::NotFound(format!("the workflow cannot be read: {reason}"))))
        }
        Err(error @ (CallError::NotOwner | CallError::Overloaded { .. } | CallError::Unavailable(_))) => Err(error),
    }
}
