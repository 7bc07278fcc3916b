//! Queries on their way to a worker, and what came of them.

use api::temporal::api::query::v1::{QueryRejected, WorkflowQuery};
use api::temporal::api::workflowservice::v1::RespondQueryTaskCompletedRequest;
use bytes::Bytes;
use prost::{Message, Oneof};

use super::task::{Queue, from_queue, to_queue};
use super::{Wire, required};
use crate::matching::{OfferedQuery, QueryOutcome};
use crate::{Relayed, ServiceResult};

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(message, optional, tag = "1")]
    queue: Option<Queue>,
    #[prost(string, tag = "2")]
    workflow_id: String,
    #[prost(string, tag = "3")]
    run_id: String,
    #[prost(message, optional, tag = "4")]
    query: Option<WorkflowQuery>,
    /// The poll response to hand out. Matching adds to it and passes it on.
    #[prost(bytes = "bytes", tag = "5")]
    response: Bytes,
}

impl Wire for OfferedQuery {
    fn to_bytes(&self) -> Bytes {
        let query = Query {
            queue: Some(to_queue(&self.queue)),
            workflow_id: self.workflow_id.as_str().to_owned(),
            run_id: self.run_id.as_str().to_owned(),
            query: Some(self.query.clone()),
            response: self.response.to_bytes(),
        };
        query.to_bytes()
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        let query = Query::from_bytes(bytes)?;
        Ok(Self {
            queue: from_queue(query.queue)?,
            workflow_id: query.workflow_id.into(),
            run_id: query.run_id.into(),
            query: required(query.query, "query")?,
            response: Relayed::from_bytes(query.response)?,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct Outcome {
    #[prost(oneof = "Ending", tags = "1, 2, 3")]
    ending: Option<Ending>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Ending {
    #[prost(message, tag = "1")]
    Answered(Box<RespondQueryTaskCompletedRequest>),
    #[prost(message, tag = "2")]
    Refused(()),
    #[prost(message, tag = "3")]
    Rejected(QueryRejected),
}

impl Wire for QueryOutcome {
    fn to_bytes(&self) -> Bytes {
        let ending = match self {
            Self::Answered(answer) => Ending::Answered(answer.clone()),
            Self::Refused => Ending::Refused(()),
            Self::Rejected(rejected) => Ending::Rejected(*rejected),
        };
        Outcome { ending: Some(ending) }.to_bytes()
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        Ok(match required(Outcome::from_bytes(bytes)?.ending, "outcome of a query")? {
            Ending::Answered(answer) => Self::Answered(answer),
            Ending::Refused(()) => Self::Refused,
            Ending::Rejected(rejected) => Self::Rejected(rejected),
        })
    }
}
