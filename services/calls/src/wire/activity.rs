//! Which activity a worker speaks of.

use bytes::Bytes;
use prost::{Message, Oneof};

use super::{Wire, from_pair, pair, required};
use crate::ServiceResult;
use crate::history::{ActivityRef, ActivityReport};
use crate::token::ActivityTaskToken;

#[derive(Clone, PartialEq, Message)]
struct Activity {
    #[prost(oneof = "Which", tags = "1, 2")]
    which: Option<Which>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Which {
    #[prost(message, tag = "1")]
    Token(ActivityTaskToken),
    #[prost(message, tag = "2")]
    Id(ActivityId),
}

#[derive(Clone, PartialEq, Message)]
struct ActivityId {
    #[prost(string, tag = "1")]
    workflow_id: String,
    #[prost(string, tag = "2")]
    run_id: String,
    #[prost(string, tag = "3")]
    activity_id: String,
}

fn to_activity(activity: ActivityRef) -> Activity {
    let which = match activity {
        ActivityRef::Token(token) => Which::Token(token),
        ActivityRef::Id { workflow_id, run_id, activity_id } => {
            Which::Id(ActivityId { workflow_id, run_id, activity_id })
        }
    };
    Activity { which: Some(which) }
}

fn from_activity(activity: Activity) -> ServiceResult<ActivityRef> {
    Ok(match required(activity.which, "activity")? {
        Which::Token(token) => ActivityRef::Token(token),
        Which::Id(ActivityId { workflow_id, run_id, activity_id }) => {
            ActivityRef::Id { workflow_id, run_id, activity_id }
        }
    })
}

impl<R: Message + Default + 'static> Wire for ActivityReport<R> {
    fn to_bytes(&self) -> Bytes {
        pair(&to_activity(self.activity.clone()), &self.request)
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        let (activity, request) = from_pair(bytes)?;
        Ok(Self { activity: from_activity(activity)?, request })
    }
}
