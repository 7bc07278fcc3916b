//! How large the Rust types of the API's messages are, from their descriptors.
//!
//! The figures are upper bounds: a field counts with its own size, fields together are rounded up to a word (the
//! compiler orders them so that nothing is lost in between), and an `Option` costs a word more unless what it holds is
//! known to have room for it.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

const WORD: usize = 8;
/// `String`, `Vec` and `BTreeMap` by themselves.
const CONTAINER: usize = 24;
/// `bytes::Bytes` by itself.
const BYTES: usize = 32;

/// Descriptors by full name with a dot in front, as fields refer to them.
pub(super) struct Layout<'a> {
    messages: HashMap<String, &'a DescriptorProto>,
    /// What each method takes, by its path without the first slash.
    requests: HashMap<String, &'a str>,
}

/// Size and whether an `Option` of it is as large.
#[derive(Clone, Copy)]
struct Shape {
    bytes: usize,
    niche: bool,
}

impl<'a> Layout<'a> {
    pub(super) fn of(files: &'a FileDescriptorSet) -> Self {
        let (mut messages, mut requests) = (HashMap::new(), HashMap::new());
        for file in &files.file {
            let package = file.package().split('.').filter(|part| !part.is_empty());
            let package = package.map(|part| format!(".{part}")).collect::<String>();
            for message in &file.message_type {
                add(&mut messages, &package, message);
            }
            for service in &file.service {
                for method in &service.method {
                    let path = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    requests.insert(path, method.input_type());
                }
            }
        }
        Self { messages, requests }
    }

    pub(super) fn message(&self, name: &str) -> Option<&'a DescriptorProto> {
        self.messages.get(name).copied()
    }

    /// The name of what a method takes, by the full name of its service and its own.
    pub(super) fn request(&self, service: &str, method: &str) -> Option<&'a str> {
        self.requests.get(&format!("{service}/{method}")).copied()
    }

    /// The size of the struct.
    pub(super) fn struct_bytes(&self, name: &str) -> usize {
        self.shape(name).bytes
    }

    /// The size of one element of a repeated field of this type, or of a map's key or value.
    pub(super) fn element_bytes(&self, field: &FieldDescriptorProto) -> usize {
        match field.r#type() {
            Type::Message | Type::Group => self.struct_bytes(field.type_name()),
            kind => scalar(kind).bytes,
        }
    }

    /// Whether a field that is not repeated lives in an allocation of its own, since its type contains its owner.
    pub(super) fn is_boxed(&self, owner: &str, field: &FieldDescriptorProto) -> bool {
        field.r#type() == Type::Message
            && field.label() != Label::Repeated
            && self.contains(field.type_name(), owner, &mut HashSet::new())
    }

    fn is_map(&self, field: &FieldDescriptorProto) -> bool {
        let entry = self.message(field.type_name()).and_then(|message| message.options.as_ref());
        entry.is_some_and(|options| options.map_entry())
    }

    fn contains(&self, outer: &str, inner: &str, seen: &mut HashSet<String>) -> bool {
        if outer == inner {
            return true;
        }
        if !seen.insert(outer.to_owned()) {
            return false;
        }
        let fields = self.message(outer).map(|message| message.field.as_slice()).unwrap_or_default();
        let singular =
            |field: &&FieldDescriptorProto| field.r#type() == Type::Message && field.label() != Label::Repeated;
        fields.iter().filter(singular).any(|field| self.contains(field.type_name(), inner, seen))
    }

    fn shape(&self, name: &str) -> Shape {
        let Some(message) = self.message(name) else { return Shape { bytes: 0, niche: false } };
        let mut whole = Shape { bytes: 0, niche: false };
        let mut oneofs: BTreeMap<i32, usize> = BTreeMap::new();
        for field in &message.field {
            let shape = self.field(name, field);
            match field.oneof_index {
                Some(index) if !field.proto3_optional() => {
                    let largest = oneofs.entry(index).or_default();
                    *largest = shape.bytes.max(*largest);
                }
                _ => {
                    whole.bytes += shape.bytes;
                    whole.niche |= shape.niche;
                }
            }
        }
        // The largest variant and which one it is; that none is set needs no room of its own.
        whole.bytes += oneofs.values().map(|largest| largest.next_multiple_of(WORD) + WORD).sum::<usize>();
        whole.bytes = whole.bytes.next_multiple_of(WORD);
        whole
    }

    fn field(&self, owner: &str, field: &FieldDescriptorProto) -> Shape {
        if field.label() == Label::Repeated {
            return Shape { bytes: CONTAINER, niche: !self.is_map(field) };
        }
        let in_oneof = field.oneof_index.is_some() && !field.proto3_optional();
        match field.r#type() {
            Type::Message if self.is_boxed(owner, field) => Shape { bytes: WORD, niche: false },
            Type::Message if in_oneof => self.shape(field.type_name()),
            Type::Message => optional(self.shape(field.type_name())),
            kind if field.proto3_optional() => optional(scalar(kind)),
            kind => scalar(kind),
        }
    }
}

fn optional(shape: Shape) -> Shape {
    Shape { bytes: if shape.niche { shape.bytes } else { shape.bytes + WORD }, niche: shape.niche }
}

fn scalar(kind: Type) -> Shape {
    let (bytes, niche) = match kind {
        Type::String => (CONTAINER, true),
        Type::Bytes => (BYTES, false),
        Type::Bool => (1, false),
        Type::Double | Type::Int64 | Type::Uint64 | Type::Fixed64 | Type::Sfixed64 | Type::Sint64 => (8, false),
        _ => (4, false),
    };
    Shape { bytes, niche }
}

fn add<'a>(messages: &mut HashMap<String, &'a DescriptorProto>, parent: &str, message: &'a DescriptorProto) {
    let name = format!("{parent}.{}", message.name());
    for nested in &message.nested_type {
        add(messages, &name, nested);
    }
    messages.insert(name, message);
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use api::temporal::api::command::v1::Command;
    use api::temporal::api::common::v1::{Link, Payload, RetryPolicy};
    use api::temporal::api::failure::v1::Failure;
    use api::temporal::api::protocol::v1::Message as ProtocolMessage;
    use api::temporal::api::workflowservice::v1 as wire;
    use prost::Message;

    use super::*;

    #[test]
    fn sizes_estimated_from_descriptors_are_those_of_the_structs_or_a_little_more() {
        let files = FileDescriptorSet::decode(api::DESCRIPTORS).unwrap();
        let layout = Layout::of(&files);
        let table = [
            (".temporal.api.command.v1.Command", size_of::<Command>()),
            (".temporal.api.common.v1.Payload", size_of::<Payload>()),
            (".temporal.api.common.v1.Link", size_of::<Link>()),
            (".temporal.api.common.v1.RetryPolicy", size_of::<RetryPolicy>()),
            (".temporal.api.failure.v1.Failure", size_of::<Failure>()),
            (".temporal.api.protocol.v1.Message", size_of::<ProtocolMessage>()),
            (
                ".temporal.api.workflowservice.v1.StartWorkflowExecutionRequest",
                size_of::<wire::StartWorkflowExecutionRequest>(),
            ),
            (
                ".temporal.api.workflowservice.v1.RespondWorkflowTaskCompletedRequest",
                size_of::<wire::RespondWorkflowTaskCompletedRequest>(),
            ),
            (".google.protobuf.Duration", size_of::<prost_types::Duration>()),
            (".google.protobuf.Any", size_of::<prost_types::Any>()),
        ];
        for (name, real) in table {
            let estimate = layout.struct_bytes(name);
            assert!(
                (real..=real + real / 5).contains(&estimate),
                "{name} takes {real} bytes, the layout says {estimate}"
            );
        }
    }
}
