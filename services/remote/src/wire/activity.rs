//! Which activity a worker speaks of.

use cluster::{ActivityRef, ServiceResult};
use internal_api::history as proto;
use prost::Message;
use proto::activity::Which;

use super::{from_token, required};

pub(crate) fn to_activity(activity: ActivityRef) -> Option<proto::Activity> {
    let which = match activity {
        ActivityRef::Token(token) => Which::Token(token.encode_to_vec().into()),
        ActivityRef::Id { workflow_id, run_id, activity_id } => {
            Which::Id(proto::ActivityId { workflow_id, run_id, activity_id })
        }
    };
    Some(proto::Activity { which: Some(which) })
}

pub(crate) fn from_activity(activity: Option<proto::Activity>) -> ServiceResult<ActivityRef> {
    match required(activity.and_then(|activity| activity.which), "activity")? {
        Which::Token(token) => Ok(ActivityRef::Token(from_token(token)?)),
        Which::Id(proto::ActivityId { workflow_id, run_id, activity_id }) => {
            Ok(ActivityRef::Id { workflow_id, run_id, activity_id })
        }
    }
}
