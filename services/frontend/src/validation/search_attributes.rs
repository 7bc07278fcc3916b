//! Search attributes: system ones are ours to set, predefined ones have their type, all have their bounds. Other names
//! are accepted until there is a registry of them.

use api::temporal::api::common::v1::{Payload, SearchAttributes};
use api::temporal::api::enums::v1::IndexedValueType;
use calls::ServiceResult;
use settings::RequestLimits;

use super::{fields, invalid};

/// Attributes that the server derives from the workflow itself.
const SYSTEM: &[&str] = &[
    "WorkflowId",
    "RunId",
    "WorkflowType",
    "StartTime",
    "ExecutionTime",
    "CloseTime",
    "ExecutionStatus",
    "TaskQueue",
    "HistoryLength",
    "HistorySizeBytes",
    "ExecutionDuration",
    "StateTransitionCount",
    "ParentWorkflowId",
    "ParentRunId",
    "RootWorkflowId",
    "RootRunId",
];

/// Attributes that every namespace has, with their types.
const PREDEFINED: &[(&str, IndexedValueType)] = &[
    ("TemporalChangeVersion", IndexedValueType::KeywordList),
    ("BinaryChecksums", IndexedValueType::KeywordList),
    ("BuildIds", IndexedValueType::KeywordList),
    ("BatcherNamespace", IndexedValueType::Keyword),
    ("BatcherUser", IndexedValueType::Keyword),
    ("TemporalScheduledStartTime", IndexedValueType::Datetime),
    ("TemporalScheduledById", IndexedValueType::Keyword),
    ("TemporalSchedulePaused", IndexedValueType::Bool),
    ("TemporalNamespaceDivision", IndexedValueType::Keyword),
    ("TemporalPauseInfo", IndexedValueType::KeywordList),
    ("TemporalReportedProblems", IndexedValueType::KeywordList),
    ("TemporalWorkerDeployment", IndexedValueType::Keyword),
    ("TemporalWorkerDeploymentVersion", IndexedValueType::Keyword),
    ("TemporalWorkflowVersioningBehavior", IndexedValueType::Keyword),
    ("TemporalUsedWorkerDeploymentVersions", IndexedValueType::KeywordList),
    ("TemporalExternalPayloadCount", IndexedValueType::Int),
    ("TemporalExternalPayloadSizeBytes", IndexedValueType::Int),
];

/// The search attributes of a start.
pub(crate) fn search_attributes(attributes: Option<&SearchAttributes>, limits: &RequestLimits) -> ServiceResult<()> {
    let Some(SearchAttributes { indexed_fields: attributes }) = attributes else { return Ok(()) };
    if attributes.len() > limits.search_attribute_keys {
        return invalid(format!(
            "search_attributes has {} keys, at most {} are allowed",
            attributes.len(),
            limits.search_attribute_keys
        ));
    }
    let mut total = 0;
    for (name, value) in attributes {
        attribute(name, value, limits)?;
        total += name.len() + value.data.len();
    }
    if total > limits.search_attributes_total_bytes {
        return invalid(format!(
            "search_attributes are {total} bytes long, at most {} are allowed",
            limits.search_attributes_total_bytes
        ));
    }
    Ok(())
}

fn attribute(name: &str, value: &Payload, limits: &RequestLimits) -> ServiceResult<()> {
    fields::required_id("search attribute name", name, limits)?;
    if SYSTEM.contains(&name) {
        return invalid(format!("search attribute {name} is set by the server and cannot be written"));
    }
    if value.data.len() > limits.search_attribute_value_bytes {
        return invalid(format!(
            "search attribute {:?} is {} bytes long, at most {} are allowed",
            fields::beginning(name),
            value.data.len(),
            limits.search_attribute_value_bytes
        ));
    }
    match PREDEFINED.iter().find(|(predefined, _)| *predefined == name) {
        Some((_, expected)) if !has_type(value, *expected) => invalid(format!(
            "search attribute {name} is {:?}, a value of type {expected:?} as JSON is needed",
            fields::beginning(&String::from_utf8_lossy(&value.data))
        )),
        _ => Ok(()),
    }
}

/// Whether `payload` holds a value of this type. No value at all, which removes an attribute, is of every type.
fn has_type(payload: &Payload, expected: IndexedValueType) -> bool {
    use serde_json::Value;
    if payload.data.is_empty() {
        return true;
    }
    let Ok(value) = serde_json::from_slice::<Value>(&payload.data) else { return false };
    let scalar = |value: &Value| match expected {
        IndexedValueType::Text | IndexedValueType::Keyword | IndexedValueType::KeywordList => value.is_string(),
        IndexedValueType::Int => value.is_i64(),
        IndexedValueType::Double => value.is_number(),
        IndexedValueType::Bool => value.is_boolean(),
        IndexedValueType::Datetime => value.as_str().is_some_and(looks_like_a_date),
        IndexedValueType::Unspecified => false,
    };
    match (&value, expected) {
        (Value::Null, _) => true,
        // A list with one element stands for the element: SDKs of the first generation send it.
        (Value::Array(values), IndexedValueType::KeywordList) => values.iter().all(scalar),
        (Value::Array(values), _) => values.len() <= 1 && values.iter().all(scalar),
        (value, _) => scalar(value),
    }
}

/// `2006-01-02T15:04:05…`: enough to distinguish a date from other text; visibility parses it.
fn looks_like_a_date(text: &str) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    text.len() > SHAPE.len()
        && text.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'T' => byte.eq_ignore_ascii_case(&b'T'),
            other => byte == *other,
        })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn check(attributes: &[(&str, &str)]) -> Result<(), String> {
        let indexed_fields = attributes
            .iter()
            .map(|(name, value)| {
                let data = Bytes::copy_from_slice(value.as_bytes());
                ((*name).to_owned(), Payload { data, ..Payload::default() })
            })
            .collect();
        search_attributes(Some(&SearchAttributes { indexed_fields }), &RequestLimits::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn predefined_attributes_are_type_checked_and_other_names_accepted() {
        assert_eq!(check(&[("CustomField", "anything at all")]), Ok(()));
        assert_eq!(check(&[("TemporalChangeVersion", "[\"a-1\",\"b-2\"]")]), Ok(()));
        assert_eq!(check(&[("BatcherUser", "\"ann\"")]), Ok(()));
        assert_eq!(check(&[("BatcherUser", "[\"ann\"]")]), Ok(()));
        assert_eq!(check(&[("TemporalScheduledStartTime", "\"2026-08-01T10:00:00Z\"")]), Ok(()));
        assert_eq!(check(&[("TemporalSchedulePaused", "")]), Ok(()));
        for (name, value) in [
            ("TemporalSchedulePaused", "\"yes\""),
            ("BatcherUser", "7"),
            ("BatcherUser", "[\"a\",\"b\"]"),
            ("TemporalExternalPayloadCount", "1.5"),
            ("TemporalScheduledStartTime", "\"tomorrow\""),
            ("TemporalChangeVersion", "[1]"),
            ("BuildIds", "{not json"),
        ] {
            assert!(check(&[(name, value)]).is_err(), "{name} {value}");
        }
        assert_eq!(
            check(&[("TemporalSchedulePaused", "7")]).unwrap_err(),
            "search attribute TemporalSchedulePaused is \"7\", a value of type Bool as JSON is needed"
        );
    }

    #[test]
    fn system_attributes_cannot_be_written() {
        let refused = check(&[("WorkflowId", "\"mine\"")]).unwrap_err();
        assert_eq!(refused, "search attribute WorkflowId is set by the server and cannot be written");
    }

    #[test]
    fn keys_values_and_the_total_have_bounds() {
        let names: Vec<String> = (0..101).map(|number| format!("Field{number}")).collect();
        let many = |count: usize, value| names[..count].iter().map(|name| (name.as_str(), value)).collect::<Vec<_>>();
        assert_eq!(check(&many(100, "1")), Ok(()));
        assert_eq!(check(&many(101, "1")).unwrap_err(), "search_attributes has 101 keys, at most 100 are allowed");
        let value = "x".repeat(2048);
        assert_eq!(check(&[("A", &value)]), Ok(()));
        assert!(check(&[("A", &(value.clone() + "x"))]).unwrap_err().contains("2049 bytes long, at most 2048"));
        assert_eq!(check(&many(19, &value)), Ok(()));
        assert!(check(&many(20, &value)).unwrap_err().contains("at most 40960 are allowed"));
    }
}
