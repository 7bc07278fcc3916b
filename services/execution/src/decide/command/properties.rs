//! Markers, search attributes and the memo.

use api::temporal::api::command::v1::{
    ModifyWorkflowPropertiesCommandAttributes, RecordMarkerCommandAttributes,
    UpsertWorkflowSearchAttributesCommandAttributes,
};
use api::temporal::api::common::v1::SearchAttributes;
use api::temporal::api::enums::v1::WorkflowTaskFailedCause as Cause;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::history::v1::{
    MarkerRecordedEventAttributes, UpsertWorkflowSearchAttributesEventAttributes,
    WorkflowPropertiesModifiedEventAttributes,
};
use prost::Message;

use super::{BadCommand, Carried, Commands, bad};
use crate::command_checks::checked_search_attributes;
use crate::draft::EventMetadata;

impl Commands<'_, '_> {
    pub(super) fn record_marker(
        &mut self,
        mut command: RecordMarkerCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadRecordMarkerAttributes;
        if let Some(failure) = &mut command.failure {
            crate::cut_failure(failure);
        }
        self.check_id(cause, "MarkerName", &command.marker_name)?;
        for details in command.details.values() {
            self.check_size(cause, "RecordMarkerCommandAttributes.Details", Some(details))?;
        }
        let attributes = MarkerRecordedEventAttributes {
            marker_name: command.marker_name,
            details: command.details,
            workflow_task_completed_event_id: self.completed_event_id,
            header: command.header,
            failure: command.failure,
        };
        self.run.event_with(Attributes::MarkerRecordedEventAttributes(attributes), metadata);
        Ok(())
    }

    /// What commands set must be within the limits, and nothing that is the server's own.
    pub(super) fn check_search_attributes(&self, attributes: Option<&SearchAttributes>) -> Carried {
        let cause = Cause::BadSearchAttributes;
        let checked = attributes.map_or(Ok(()), checked_search_attributes);
        checked.map_err(|message| BadCommand { cause, message, terminates: false })
    }

    pub(super) fn upsert_search_attributes(
        &mut self,
        command: UpsertWorkflowSearchAttributesCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadSearchAttributes;
        let Some(changed) = command.search_attributes.filter(|changed| !changed.indexed_fields.is_empty()) else {
            return bad(cause, "SearchAttributes is not set".to_owned());
        };
        self.check_search_attributes(Some(&changed))?;
        let attributes = UpsertWorkflowSearchAttributesEventAttributes {
            workflow_task_completed_event_id: self.completed_event_id,
            search_attributes: Some(changed),
        };
        let attributes = Attributes::UpsertWorkflowSearchAttributesEventAttributes(attributes);
        self.run.event_with(attributes, metadata);
        Ok(())
    }

    pub(super) fn modify_properties(
        &mut self,
        command: ModifyWorkflowPropertiesCommandAttributes,
        metadata: EventMetadata,
    ) -> Carried {
        let cause = Cause::BadModifyWorkflowPropertiesAttributes;
        let Some(upserted) = command.upserted_memo.filter(|memo| !memo.fields.is_empty()) else {
            return bad(cause, "UpsertedMemo is not set".to_owned());
        };
        let kept: usize = self.run.memo.iter().map(|(name, payload)| name.len() + payload.encoded_len()).sum();
        let limit = self.run.env().limits.memo_bytes;
        let size = kept + upserted.encoded_len();
        if size > limit {
            let message = format!("the memo would have {size} bytes, at most {limit} are allowed");
            return Err(BadCommand { cause, message, terminates: true });
        }
        let attributes = WorkflowPropertiesModifiedEventAttributes {
            workflow_task_completed_event_id: self.completed_event_id,
            upserted_memo: Some(upserted),
        };
        let attributes = Attributes::WorkflowPropertiesModifiedEventAttributes(attributes);
        self.run.event_with(attributes, metadata);
        Ok(())
    }
}
