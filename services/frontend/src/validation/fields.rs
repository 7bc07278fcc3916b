//! Ids, names, executions and enum values.

use api::temporal::api::common::v1::{WorkflowExecution, WorkflowType};
use api::texts;
use calls::ServiceResult;
use settings::RequestLimits;

use super::invalid;

/// The namespace that belongs to the server itself.
pub(crate) const RESERVED_NAMESPACE: &str = "temporal-system";

/// A name that a namespace can be given.
pub(crate) fn namespace_name(field: &str, value: &str, limits: &RequestLimits) -> ServiceResult<()> {
    required_id(field, value, limits)?;
    if value == RESERVED_NAMESPACE {
        return invalid(format!("{field} is {RESERVED_NAMESPACE:?}, which is reserved for the server"));
    }
    Ok(())
}

/// An id or name that must be there.
pub(crate) fn required_id(field: &str, value: &str, limits: &RequestLimits) -> ServiceResult<()> {
    if value.is_empty() {
        return invalid(format!("{field} is not set"));
    }
    optional_id(field, value, limits)
}

/// An id or name that may be empty.
pub(crate) fn optional_id(field: &str, value: &str, limits: &RequestLimits) -> ServiceResult<()> {
    length(field, value, limits)?;
    name(field, value)
}

/// Text that does not break what shows it.
pub(crate) fn name(field: &str, value: &str) -> ServiceResult<()> {
    execution::command_checks::checked_name(field, value).or_else(invalid)
}

/// Text as long as an id may be.
pub(crate) fn length(field: &str, value: &str, limits: &RequestLimits) -> ServiceResult<()> {
    if value.len() <= limits.id_bytes {
        return Ok(());
    }
    invalid(format!(
        "{field} {:?} is {} bytes long, at most {} are allowed",
        beginning(value),
        value.len(),
        limits.id_bytes
    ))
}

/// A run id: a UUID, or empty for the current run.
pub(crate) fn run_id(field: &str, value: &str) -> ServiceResult<()> {
    if value.is_empty() || execution::command_checks::is_uuid(value) {
        return Ok(());
    }
    invalid(format!("{} {field} is {:?}, a UUID is needed", texts::INVALID_RUN_ID, beginning(value)))
}

/// A workflow and perhaps its run.
pub(crate) fn execution(field: &str, value: Option<&WorkflowExecution>, limits: &RequestLimits) -> ServiceResult<()> {
    let Some(execution) = value else { return invalid(format!("{field} is not set")) };
    required_id(&format!("{field}.workflow_id"), &execution.workflow_id, limits)?;
    run_id(&format!("{field}.run_id"), &execution.run_id)
}

/// A workflow type.
pub(crate) fn workflow_type(value: Option<&WorkflowType>, limits: &RequestLimits) -> ServiceResult<()> {
    required_id("workflow_type.name", value.map_or("", |workflow_type| &workflow_type.name), limits)
}

/// A value of an enum that this release knows; 0 (unspecified) counts as known.
pub(crate) fn known<E: TryFrom<i32>>(field: &str, value: i32) -> ServiceResult<E> {
    match E::try_from(value) {
        Ok(known) => Ok(known),
        Err(_) => invalid(format!("{field} is {value}, which is not a value of that enum")),
    }
}

/// A page size; 0 leaves it to us.
pub(crate) fn page_size(field: &str, value: i32) -> ServiceResult<()> {
    if value >= 0 {
        return Ok(());
    }
    invalid(format!("{field} is {value}, 0 or more is allowed"))
}

/// As much of a value as an error needs to be recognised by.
pub(crate) fn beginning(value: &str) -> String {
    const SHOWN: usize = 64;
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use api::temporal::api::enums::v1::WorkflowIdReusePolicy;
    use calls::ServiceError;

    use super::*;

    fn text<T>(result: ServiceResult<T>) -> String {
        match result {
            Ok(_) => String::new(),
            Err(ServiceError::InvalidArgument(message)) => message,
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn ids_may_be_a_thousand_bytes_and_not_one_more() {
        let limits = RequestLimits::default();
        assert_eq!(text(required_id("workflow_id", &"a".repeat(1000), &limits)), "");
        assert_eq!(text(required_id("workflow_id", &"é".repeat(500), &limits)), "");
        let long = text(required_id("workflow_id", &"é".repeat(501), &limits));
        assert!(long.starts_with("workflow_id \"éé"), "{long}");
        assert!(long.ends_with("é…\" is 1002 bytes long, at most 1000 are allowed"), "{long}");
        assert_eq!(text(required_id("signal_name", "", &limits)), "signal_name is not set");
    }

    #[test]
    fn ids_and_names_have_no_control_characters() {
        let limits = RequestLimits::default();
        assert_eq!(text(required_id("workflow_id", "order\u{a0}1 – 注文", &limits)), "");
        let expected = "workflow_id has the control character U+000A at byte 5, names have none";
        assert_eq!(text(required_id("workflow_id", "order\n1", &limits)), expected);
        let expected = "namespace has the control character U+0085 at byte 0, names have none";
        assert_eq!(text(namespace_name("namespace", "\u{85}", &limits)), expected);
    }

    #[test]
    fn run_ids_are_uuids() {
        assert_eq!(text(run_id("run_id", "")), "");
        assert_eq!(text(run_id("run_id", "0190c6de-7f9c-7c6e-8f44-3b6f9a2b8c01")), "");
        assert_eq!(text(run_id("run_id", "first")), "Invalid RunId. run_id is \"first\", a UUID is needed");
        assert!(!text(run_id("run_id", "0190c6de-7f9c-7c6e-8f44-3b6f9a2b8c0é")).is_empty());
    }

    #[test]
    fn enum_values_that_this_release_does_not_know_are_refused() {
        assert_eq!(text(known::<WorkflowIdReusePolicy>("workflow_id_reuse_policy", 4)), "");
        let unknown = text(known::<WorkflowIdReusePolicy>("workflow_id_reuse_policy", 77));
        assert_eq!(unknown, "workflow_id_reuse_policy is 77, which is not a value of that enum");
    }
}
