//! The token that leads from one page of a history to the next.

use api::temporal::api::common::v1::WorkflowExecution;
use bytes::Bytes;
use calls::token::HistoryPageToken;
use calls::{CallContext, ServiceResult};

use crate::Frontend;
use crate::tokens::{self, Kind};
use crate::validation::invalid;

/// Opens a page token, if there is one. It must be for this namespace, workflow and run.
pub(super) async fn open(
    frontend: &Frontend,
    ctx: &CallContext,
    kind: Kind,
    execution: Option<&WorkflowExecution>,
    sealed: &Bytes,
) -> ServiceResult<Bytes> {
    if sealed.is_empty() {
        return Ok(Bytes::new());
    }
    let content = frontend.open(kind, sealed).await?;
    let token: HistoryPageToken = tokens::read(kind, &content)?;
    tokens::check_namespace(kind, &token, &ctx.namespace)?;
    let Some(execution) = execution else { return Ok(content) };
    if token.workflow_id != execution.workflow_id {
        return invalid(format!(
            "next_page_token is for workflow {:?}, the request for {:?}",
            token.workflow_id, execution.workflow_id
        ));
    }
    if !execution.run_id.is_empty() && token.run_id != execution.run_id {
        return invalid(format!(
            "next_page_token is for run {:?}, the request for {:?}",
            token.run_id, execution.run_id
        ));
    }
    Ok(content)
}
