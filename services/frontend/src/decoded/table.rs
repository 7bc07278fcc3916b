//! What each field of each message costs when it is decoded.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{FieldDescriptorProto, FileDescriptorSet};

use super::layout::Layout;

/// Entries in a node of a `BTreeMap`; a node that was split keeps at least [`LEAST_ENTRIES`].
const MOST_ENTRIES: usize = 11;
const LEAST_ENTRIES: usize = 5;
/// A node's own fields.
const NODE: usize = 16;
/// An inner node's references to others, on the nodes that have some.
const EDGES: usize = 12 * 8;

/// The messages that requests are made of, by number.
pub(super) struct Table {
    pub(super) messages: Vec<Message>,
    /// The number of each method's request.
    pub(super) requests: Vec<usize>,
    /// The numbers of the messages that are decoded, later, from what a `google.protobuf.Any` holds.
    pub(super) bodies: Vec<usize>,
}

/// What workers say of updates.
const BODIES: &[&str] =
    &[".temporal.api.update.v1.Acceptance", ".temporal.api.update.v1.Rejection", ".temporal.api.update.v1.Response"];

/// A message's fields by their numbers on the wire.
#[derive(Default)]
pub(super) struct Message {
    pub(super) fields: Vec<Field>,
    /// The struct by itself.
    pub(super) bytes: usize,
}

/// The cost of one occurrence of a field. Without any for fields that live inside their message's struct.
#[derive(Clone, Copy, Default)]
pub(super) struct Field {
    /// The first of several elements: the smallest list, or a map's first node. Bytes.
    pub(super) first: usize,
    /// One element more. Bytes.
    pub(super) next: usize,
    /// Whether it is an element of a list or map.
    pub(super) repeated: bool,
    pub(super) content: Content,
}

/// What a field with a length holds.
#[derive(Clone, Copy, Default)]
pub(super) enum Content {
    /// Nothing that is allocated: a number, unknown, or bytes that share the request's own.
    #[default]
    Nothing,
    /// Text, copied.
    Text,
    /// A message, by its number in the table.
    Message(usize),
    /// Text, copied, of which one of the bodies is decoded later.
    Body,
    /// Numbers without tags of their own. Bytes for each byte on the wire.
    Packed(usize),
}

/// Builds a table as messages are met.
struct Builder<'a> {
    layout: &'a Layout<'a>,
    numbers: HashMap<String, usize>,
    messages: Vec<Message>,
}

impl Table {
    /// For these methods: the full name of the service of each, and its own.
    pub(super) fn of<'a>(methods: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        // Compiled in, and read by a test: an empty set would refuse nothing.
        let files = FileDescriptorSet::decode(api::DESCRIPTORS).unwrap_or_default();
        let layout = Layout::of(&files);
        let mut builder = Builder { layout: &layout, numbers: HashMap::new(), messages: Vec::new() };
        let requests =
            methods.map(|(service, method)| builder.number(layout.request(service, method).unwrap_or_default()));
        let requests = requests.collect();
        let bodies = BODIES.iter().map(|name| builder.number(name)).collect();
        Self { messages: builder.messages, requests, bodies }
    }
}

impl Builder<'_> {
    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.messages.len();
        self.numbers.insert(name.to_owned(), number);
        self.messages.push(Message { fields: Vec::new(), bytes: self.layout.struct_bytes(name) });
        let descriptors = self.layout.message(name).map(|message| message.field.as_slice()).unwrap_or_default();
        let mut fields = Vec::new();
        for descriptor in descriptors {
            let at = usize::try_from(descriptor.number()).unwrap_or_default();
            if fields.len() <= at {
                fields.resize(at + 1, Field::default());
            }
            fields[at] = self.field(name, descriptor);
        }
        self.messages[number].fields = fields;
        number
    }

    fn field(&mut self, owner: &str, field: &FieldDescriptorProto) -> Field {
        let content = self.content(owner, field);
        if field.label() != Label::Repeated {
            let bytes = match content {
                Content::Message(_) if self.layout.is_boxed(owner, field) => {
                    self.layout.struct_bytes(field.type_name())
                }
                _ => 0,
            };
            return Field { first: bytes, next: bytes, repeated: false, content };
        }
        let (first, next) = match self.entry(field) {
            Some([key, value]) => map(self.layout.element_bytes(&key) + self.layout.element_bytes(&value)),
            None => list(self.layout.element_bytes(field)),
        };
        Field { first, next, repeated: true, content }
    }

    fn content(&mut self, owner: &str, field: &FieldDescriptorProto) -> Content {
        match field.r#type() {
            Type::String => Content::Text,
            Type::Bytes if owner == ".google.protobuf.Any" => Content::Body,
            // The well-known types copy their bytes.
            Type::Bytes if owner.starts_with(".google.protobuf.") => Content::Text,
            Type::Bytes => Content::Nothing,
            Type::Message | Type::Group => Content::Message(self.number(field.type_name())),
            kind if field.label() == Label::Repeated => {
                let size = self.layout.element_bytes(field);
                let on_the_wire = match kind {
                    Type::Fixed32 | Type::Sfixed32 | Type::Float => 4,
                    Type::Fixed64 | Type::Sfixed64 | Type::Double => 8,
                    _ => 1,
                };
                Content::Packed((2 * size).div_ceil(on_the_wire))
            }
            _ => Content::Nothing,
        }
    }

    /// Key and value of a map.
    fn entry(&self, field: &FieldDescriptorProto) -> Option<[FieldDescriptorProto; 2]> {
        let entry = self.layout.message(field.type_name())?;
        let is_map = entry.options.as_ref().is_some_and(|options| options.map_entry());
        match entry.field.as_slice() {
            [key, value] if is_map => Some([key.clone(), value.clone()]),
            _ => None,
        }
    }
}

/// A `Vec` doubles: at most twice what it holds. The first allocation has room for four, or for one of a large type, or
/// for eight bytes.
fn list(element: usize) -> (usize, usize) {
    let first = match element {
        0..=1 => 8,
        2..=1024 => 4 * element,
        _ => 2 * element,
    };
    (first, 2 * element)
}

/// A `BTreeMap`: whole nodes, which are not filled.
fn map(entry: usize) -> (usize, usize) {
    let node = MOST_ENTRIES * entry + NODE;
    (node, (node + 2 * EDGES).div_ceil(LEAST_ENTRIES))
}
