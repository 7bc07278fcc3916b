//! Queries on their way to a worker, and what came of them.

use cluster::{OfferedQuery, QueryOutcome, ServiceResult};
use internal_api::matching as proto;
use proto::query_outcome::Outcome;

use super::required;
use super::task::{from_queue, to_queue};

pub(crate) fn to_query(query: OfferedQuery) -> Option<proto::OfferedQuery> {
    Some(proto::OfferedQuery {
        queue: Some(to_queue(query.queue)),
        workflow_id: query.workflow_id.as_str().to_owned(),
        run_id: query.run_id.as_str().to_owned(),
        query: Some(query.query),
        response: Some(*query.response),
    })
}

pub(crate) fn from_query(query: Option<proto::OfferedQuery>) -> ServiceResult<OfferedQuery> {
    let query = required(query, "query")?;
    Ok(OfferedQuery {
        queue: from_queue(query.queue)?,
        workflow_id: query.workflow_id.into(),
        run_id: query.run_id.into(),
        query: required(query.query, "query.query")?,
        response: Box::new(required(query.response, "query.response")?),
    })
}

pub(crate) fn to_outcome(outcome: QueryOutcome) -> proto::QueryOutcome {
    let outcome = match outcome {
        QueryOutcome::Answered(answer) => Outcome::Answered(*answer),
        QueryOutcome::Refused => Outcome::Refused(proto::Refused {}),
        QueryOutcome::Rejected(rejected) => Outcome::Rejected(rejected),
    };
    proto::QueryOutcome { outcome: Some(outcome) }
}

pub(crate) fn from_outcome(outcome: proto::QueryOutcome) -> ServiceResult<QueryOutcome> {
    Ok(match required(outcome.outcome, "outcome of a query")? {
        Outcome::Answered(answer) => QueryOutcome::Answered(Box::new(answer)),
        Outcome::Refused(proto::Refused {}) => QueryOutcome::Refused,
        Outcome::Rejected(rejected) => QueryOutcome::Rejected(rejected),
    })
}
