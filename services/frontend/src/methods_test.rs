//! The table against the API's descriptors.

use prost_types::{FileDescriptorSet, MethodDescriptorProto};

use super::*;

fn described(service: &str, method: &str) -> MethodDescriptorProto {
    let files = FileDescriptorSet::decode(api::DESCRIPTORS).unwrap();
    let (package, name) = service.rsplit_once('.').unwrap();
    let services = files.file.iter().filter(|file| file.package() == package).flat_map(|file| &file.service);
    let found = services.filter(|of_package| of_package.name() == name).flat_map(|service| &service.method);
    found.into_iter().find(|of_service| of_service.name() == method).unwrap().clone()
}

/// The last part of a name whose parts have `between` between them.
fn last<'a>(name: &'a str, between: &str) -> &'a str {
    name.rsplit_once(between).map_or(name, |(_, last)| last)
}

#[test]
fn every_row_takes_and_gives_the_messages_of_its_method() {
    assert!(methods().rows().len() > 30);
    for method in methods().rows() {
        let described = described(method.service, method.name);
        let [request, response] = method.row.messages().map(|name| last(name, "::"));
        assert_eq!(request, last(described.input_type(), "."), "{}", method.path());
        assert_eq!(response, last(described.output_type(), "."), "{}", method.path());
        assert!(!described.client_streaming() && !described.server_streaming());
    }
}

#[test]
fn rows_are_found_by_their_paths_and_are_there_once() {
    for (number, method) in methods().rows().iter().enumerate() {
        assert_eq!(methods().number(&method.path()), Some(number));
        assert_eq!(methods().named(method.name), Some(number), "{} is identified by its name alone", method.path());
    }
    assert_eq!(methods().number("/temporal.api.workflowservice.v1.WorkflowService/Nonsense"), None);
}

#[test]
fn names_say_who_may_call() {
    for method in methods().rows() {
        let expected = match method.name {
            // A caller's, unlike the polls of workers.
            "PollWorkflowExecutionUpdate" => Access::Read,
            name if ["Poll", "Respond", "Record", "Shutdown", "ResetSticky"]
                .iter()
                .any(|verb| name.starts_with(verb)) =>
            {
                Access::Worker
            }
            name if ["Get", "Describe", "List", "Query"].iter().any(|verb| name.starts_with(verb)) => Access::Read,
            name if name.ends_with("Namespace") => Access::Admin,
            _ => Access::Write,
        };
        assert_eq!(method.row.access(), expected, "{}", method.path());
    }
}
