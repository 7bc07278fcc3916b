//! Requests with as many of the smallest elements of one list or map as fit, made from the API's descriptors.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

/// The smallest number that is written with three bytes, as text of ASCII and as a number.
const FIRST_KEY: usize = 1 << 14;

/// One list or map of one request, in one of two shapes.
pub struct Flood {
    pub rpc: String,
    pub name: String,
    /// The fields from the request to the list or map, which is the last.
    path: Vec<FieldDescriptor>,
    /// Whether each element has a parent of its own instead of one for all.
    apart: bool,
    /// Whether no other request before had this list or map.
    pub first_of_its_kind: bool,
}

/// All of them.
pub fn floods() -> Vec<Flood> {
    let pool = DescriptorPool::decode(api::DESCRIPTORS).unwrap();
    let service = pool.get_service_by_name("temporal.api.workflowservice.v1.WorkflowService").unwrap();
    let (mut floods, mut known) = (Vec::new(), BTreeSet::new());
    for method in service.methods() {
        let served = frontend::decoded::bound_of(method.name(), &[], frontend::decoded::Limits::default()).is_some();
        if served {
            let mut paths = Vec::new();
            collect(&method.input(), &mut Vec::new(), &mut BTreeSet::new(), &mut paths);
            for path in paths {
                let field = path.last().unwrap().full_name().to_owned();
                let nested = path.iter().rev().skip(1).any(FieldDescriptor::is_list);
                for apart in if nested { vec![false, true] } else { vec![false] } {
                    let shape = if apart { "apart" } else { "together" };
                    let names = path.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
                    floods.push(Flood {
                        rpc: method.name().to_owned(),
                        name: format!("{}: {names}, {shape}", method.name()),
                        path: path.clone(),
                        apart,
                        first_of_its_kind: known.insert((field.clone(), apart)),
                    });
                }
            }
        }
    }
    floods
}

/// Collects the shortest ways, more or less, to the lists and maps below `message`.
fn collect(
    message: &MessageDescriptor,
    path: &mut Vec<FieldDescriptor>,
    seen: &mut BTreeSet<String>,
    found: &mut Vec<Vec<FieldDescriptor>>,
) {
    if !seen.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        path.push(field.clone());
        if field.is_list() || field.is_map() {
            found.push(path.clone());
        }
        if let Kind::Message(inner) = field.kind() {
            collect(&inner, path, seen, found);
        }
        path.pop();
    }
}

impl Flood {
    /// At most `bytes` of it.
    pub fn message(&self, bytes: usize) -> Vec<u8> {
        let room = bytes - 64.min(bytes) - 8 * self.path.len();
        let (last, parents) = self.path.split_last().unwrap();
        let split = parents.iter().rposition(FieldDescriptor::is_list).filter(|_| self.apart);
        let Some(split) = split else { return wrapped(parents, elements(last, room)) };
        let one = wrapped(&parents[split..], element(last, FIRST_KEY));
        wrapped(&parents[..split], one.repeat(room / one.len()))
    }
}

/// As many of the smallest elements as fit into `room`.
fn elements(field: &FieldDescriptor, room: usize) -> Vec<u8> {
    if field.is_packed() {
        return tagged(field, vec![0; (room - 8) / 8 * 8]);
    }
    if !field.is_map() {
        let one = element(field, 0);
        return one.repeat(room / one.len());
    }
    // All entries are as long as the first, whose key is replaced.
    let one = element(field, FIRST_KEY);
    let mut all = one.repeat(room / one.len());
    let key = one.len() - 3;
    for (number, entry) in all.chunks_mut(one.len()).enumerate() {
        let mut number = FIRST_KEY + number;
        for byte in &mut entry[key..] {
            *byte = *byte & 0x80 | (number & 0x7f) as u8;
            number >>= 7;
        }
    }
    all
}

/// The smallest element; of a map, one with a key of its own.
fn element(field: &FieldDescriptor, number: usize) -> Vec<u8> {
    if field.is_packed() {
        return tagged(field, vec![0; 8]);
    }
    if !field.is_map() {
        return tagged(field, Vec::new());
    }
    let Kind::Message(entry) = field.kind() else { panic!("a map has entries") };
    let key = entry.map_entry_key_field();
    match key.kind() {
        Kind::String => {
            let text = (0..3).map(|at| (number >> (7 * at) & 0x7f) as u8).collect();
            tagged(field, tagged(&key, text))
        }
        _ => {
            let mut content = vec![u8::try_from(key.number() << 3).unwrap()];
            varint(&mut content, number);
            tagged(field, content)
        }
    }
}

/// `content` as the content of the innermost of `parents`. A map's entry is one of them.
fn wrapped(parents: &[FieldDescriptor], content: Vec<u8>) -> Vec<u8> {
    parents.iter().rev().fold(content, |content, field| tagged(field, content))
}

fn tagged(field: &FieldDescriptor, content: Vec<u8>) -> Vec<u8> {
    let mut all = Vec::with_capacity(content.len() + 8);
    varint(&mut all, (field.number() << 3 | 2) as usize);
    varint(&mut all, content.len());
    all.extend_from_slice(&content);
    all
}

fn varint(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
