//! What describes a request beside its content: priority and links.

use api::temporal::api::common::v1::{Link, Priority, link};
use calls::ServiceResult;
use prost::Message;
use settings::RequestLimits;

use super::{fields, invalid};

/// Priority and fairness; unset fields are defaults.
pub(crate) fn priority(priority: Option<&Priority>, limits: &RequestLimits) -> ServiceResult<()> {
    let Some(priority) = priority else { return Ok(()) };
    // Keys beyond the last level are kept as they are, and served with it.
    if priority.priority_key < 0 {
        let key = priority.priority_key;
        return invalid(format!("priority.priority_key is {key}, 1 (first) or more is allowed, or 0 for the default"));
    }
    if priority.fairness_key.len() > limits.fairness_key_bytes {
        return invalid(format!(
            "priority.fairness_key {:?} is {} bytes long, at most {} are allowed",
            fields::beginning(&priority.fairness_key),
            priority.fairness_key.len(),
            limits.fairness_key_bytes
        ));
    }
    fields::name("priority.fairness_key", &priority.fairness_key)?;
    let weight = priority.fairness_weight;
    if !(weight.is_finite() && weight >= 0.0) {
        return invalid(format!("priority.fairness_weight is {weight}, 0 (the default) or more is allowed"));
    }
    Ok(())
}

/// Links: how many, how large, and that each says what it links to.
pub(crate) fn links(links: &[Link], limits: &RequestLimits) -> ServiceResult<()> {
    if links.len() > limits.links {
        return invalid(format!("links has {} entries, at most {} are allowed", links.len(), limits.links));
    }
    for (position, link) in links.iter().enumerate() {
        let bytes = link.encoded_len();
        if bytes > limits.link_bytes {
            return invalid(format!(
                "links[{position}] is {bytes} bytes long, at most {} are allowed",
                limits.link_bytes
            ));
        }
        link_names(position, link)?;
        let missing = match &link.variant {
            None => "variant",
            Some(link::Variant::WorkflowEvent(event)) if event.namespace.is_empty() => "workflow_event.namespace",
            Some(link::Variant::WorkflowEvent(event)) if event.workflow_id.is_empty() => "workflow_event.workflow_id",
            Some(link::Variant::WorkflowEvent(event)) if event.run_id.is_empty() => "workflow_event.run_id",
            Some(link::Variant::BatchJob(job)) if job.job_id.is_empty() => "batch_job.job_id",
            Some(_) => continue,
        };
        return invalid(format!("links[{position}].{missing} is not set"));
    }
    Ok(())
}

fn link_names(position: usize, link: &Link) -> ServiceResult<()> {
    let names = |[first, second, third]: [(&str, &str); 3]| {
        let name = |(field, value): (&str, &str)| fields::name(&format!("links[{position}].{field}"), value);
        name(first).and_then(|()| name(second)).and_then(|()| name(third))
    };
    match &link.variant {
        Some(link::Variant::WorkflowEvent(event)) => names([
            ("workflow_event.namespace", &event.namespace),
            ("workflow_event.workflow_id", &event.workflow_id),
            ("workflow_event.run_id", &event.run_id),
        ]),
        Some(link::Variant::BatchJob(job)) => fields::name(&format!("links[{position}].batch_job.job_id"), &job.job_id),
        Some(link::Variant::Activity(activity)) => names([
            ("activity.namespace", &activity.namespace),
            ("activity.activity_id", &activity.activity_id),
            ("activity.run_id", &activity.run_id),
        ]),
        Some(link::Variant::NexusOperation(operation)) => names([
            ("nexus_operation.namespace", &operation.namespace),
            ("nexus_operation.operation_id", &operation.operation_id),
            ("nexus_operation.run_id", &operation.run_id),
        ]),
        Some(link::Variant::Workflow(workflow)) => names([
            ("workflow.namespace", &workflow.namespace),
            ("workflow.workflow_id", &workflow.workflow_id),
            ("workflow.run_id", &workflow.run_id),
        ]),
        Some(link::Variant::Callback(_)) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_not_negative() {
        let limits = RequestLimits::default();
        let with = |priority_key, fairness_key: &str, fairness_weight| Priority {
            priority_key,
            fairness_key: fairness_key.to_owned(),
            fairness_weight,
        };
        for accepted in [with(0, "", 0.0), with(5, &"k".repeat(64), 2.5), with(6, "", 0.0), with(i32::MAX, "", 0.0)] {
            assert_eq!(priority(Some(&accepted), &limits), Ok(()));
        }
        for refused in [with(-1, "", 0.0), with(1, &"k".repeat(65), 0.0), with(1, "", -1.0), with(1, "", f32::NAN)] {
            assert!(priority(Some(&refused), &limits).is_err(), "{refused:?}");
        }
        assert_eq!(
            priority(Some(&with(-1, "", 0.0)), &limits).unwrap_err().to_string(),
            "priority.priority_key is -1, 1 (first) or more is allowed, or 0 for the default"
        );
    }

    #[test]
    fn links_are_bounded_and_say_what_they_link_to() {
        let limits = RequestLimits::default();
        let job = |id: &str| Link { variant: Some(link::Variant::BatchJob(link::BatchJob { job_id: id.to_owned() })) };
        assert_eq!(links(&vec![job("a"); 10], &limits), Ok(()));
        assert!(links(&vec![job("a"); 11], &limits).is_err());
        assert!(links(&[job(&"a".repeat(4001))], &limits).is_err());
        assert_eq!(
            links(&[job("a"), job("")], &limits).unwrap_err().to_string(),
            "links[1].batch_job.job_id is not set"
        );
        assert_eq!(
            links(&[job("a\u{7f}")], &limits).unwrap_err().to_string(),
            "links[0].batch_job.job_id has the control character U+007F at byte 1, names have none"
        );
        assert_eq!(links(&[Link::default()], &limits).unwrap_err().to_string(), "links[0].variant is not set");
    }
}
