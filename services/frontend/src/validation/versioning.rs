//! Worker versioning is not here yet. What unversioned workers say is accepted; asking for a version is refused, since
//! ignoring it would run workflows on the wrong code.

use api::temporal::api::common::v1::{WorkerVersionCapabilities, WorkerVersionStamp};
use api::temporal::api::deployment::v1::WorkerDeploymentOptions;
use api::temporal::api::enums::v1::{VersioningBehavior, WorkerVersioningMode};
use api::temporal::api::workflow::v1::VersioningOverride;
use calls::{ServiceError, ServiceResult};
use settings::RequestLimits;

use super::fields;

fn refused<T>(field: &str, value: &str, allowed: &str) -> ServiceResult<T> {
    Err(ServiceError::FailedPrecondition(format!(
        "{field} is {value}, but this server does not support worker versioning yet: {allowed}"
    )))
}

/// What a poller says of its deployment.
pub(crate) fn deployment_options(
    options: Option<&WorkerDeploymentOptions>,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    let Some(options) = options else { return Ok(()) };
    fields::optional_id("deployment_options.deployment_name", &options.deployment_name, limits)?;
    fields::optional_id("deployment_options.build_id", &options.build_id, limits)?;
    let field = "deployment_options.worker_versioning_mode";
    match fields::known(field, options.worker_versioning_mode)? {
        WorkerVersioningMode::Unspecified | WorkerVersioningMode::Unversioned => Ok(()),
        WorkerVersioningMode::Versioned => refused(field, "VERSIONED", "UNVERSIONED is allowed"),
    }
}

/// What a poller says of its build.
pub(crate) fn capabilities(
    capabilities: Option<&WorkerVersionCapabilities>,
    limits: &RequestLimits,
) -> ServiceResult<()> {
    let Some(capabilities) = capabilities else { return Ok(()) };
    fields::optional_id("worker_version_capabilities.build_id", &capabilities.build_id, limits)?;
    if capabilities.use_versioning {
        return refused("worker_version_capabilities.use_versioning", "true", "false is allowed");
    }
    Ok(())
}

/// What a worker says of the build that did the work.
pub(crate) fn stamp(field: &str, stamp: Option<&WorkerVersionStamp>, limits: &RequestLimits) -> ServiceResult<()> {
    let Some(stamp) = stamp else { return Ok(()) };
    fields::optional_id(&format!("{field}.build_id"), &stamp.build_id, limits)?;
    if stamp.use_versioning {
        return refused(&format!("{field}.use_versioning"), "true", "false is allowed");
    }
    Ok(())
}

/// The behaviour of a workflow under new versions.
pub(crate) fn behavior(value: i32) -> ServiceResult<()> {
    match fields::known("versioning_behavior", value)? {
        VersioningBehavior::Unspecified => Ok(()),
        other => refused("versioning_behavior", other.as_str_name(), "it must not be set"),
    }
}

/// The version that a caller wants a workflow to run on.
pub(crate) fn override_version(value: Option<&VersioningOverride>) -> ServiceResult<()> {
    if value.is_none() {
        return Ok(());
    }
    refused("versioning_override", "set", "it must not be set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unversioned_workers_are_accepted_and_versioned_ones_refused_with_the_reason() {
        let limits = RequestLimits::default();
        let options = |worker_versioning_mode| WorkerDeploymentOptions {
            deployment_name: "orders".to_owned(),
            build_id: "1.0".to_owned(),
            worker_versioning_mode,
        };
        assert_eq!(deployment_options(Some(&options(1)), &limits), Ok(()));
        assert_eq!(
            deployment_options(Some(&options(2)), &limits),
            Err(ServiceError::FailedPrecondition(
                "deployment_options.worker_versioning_mode is VERSIONED, but this server does not support worker \
                 versioning yet: UNVERSIONED is allowed"
                    .to_owned()
            ))
        );
        let build = |use_versioning| WorkerVersionStamp { build_id: "1.0".to_owned(), use_versioning };
        assert_eq!(stamp("worker_version", Some(&build(false)), &limits), Ok(()));
        assert!(matches!(
            stamp("worker_version", Some(&build(true)), &limits),
            Err(ServiceError::FailedPrecondition(_))
        ));
        assert!(behavior(1).is_err());
        assert!(override_version(Some(&VersioningOverride::default())).is_err());
    }
}
