//! How events are shown: every field that is set, in the API's names, short enough to read.

use std::sync::LazyLock;

use api::temporal::api::history::v1::HistoryEvent;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};

static EVENT: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(api::DESCRIPTORS).expect("the descriptors decode");
    pool.get_message_by_name("temporal.api.history.v1.HistoryEvent").expect("there are events")
});

/// What is the same in every conversation.
const OMITTED: &[&str] =
    &["event_id", "event_time", "event_type", "namespace", "namespace_id", "workflow_id", "source"];
/// Where a line is broken.
const WIDTH: usize = 112;

/// An event's words: its id, when it was, its type, its attributes.
pub fn event(event: &HistoryEvent, at: &str) -> Vec<String> {
    let kind = event.event_type().as_str_name().trim_start_matches("EVENT_TYPE_");
    let message = DynamicMessage::decode(EVENT.clone(), event.encode_to_vec().as_slice()).expect("an event decodes");
    let mut words = vec![format!("{} {at} {}", event.event_id, camel(kind))];
    for (field, value) in message.fields() {
        match value {
            Value::Message(attributes) if field.name().ends_with("_event_attributes") => {
                words.extend(words_of(attributes));
            }
            _ => words.extend(word(&field, value)),
        }
    }
    words
}

/// Breaks words into lines.
pub fn wrapped(words: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut words = words.into_iter();
    let mut lines: Vec<_> = words.next().into_iter().collect();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => *line += &format!(" {word}"),
            _ => lines.push(format!("    {word}")),
        }
    }
    lines
}

fn words_of(message: &DynamicMessage) -> Vec<String> {
    let mut fields: Vec<_> = message.fields().collect();
    fields.sort_by_key(|(field, _)| field.number());
    fields.iter().filter_map(|(field, value)| word(field, value)).collect()
}

fn word(field: &FieldDescriptor, value: &Value) -> Option<String> {
    if OMITTED.contains(&field.name()) {
        return None;
    }
    let text = shown(&field.kind(), value)?;
    Some(format!("{}={text}", field.name().trim_start_matches("workflow_execution_")))
}

/// A value; `None` where it says nothing.
fn shown(kind: &Kind, value: &Value) -> Option<String> {
    Some(match value {
        Value::Message(message) => return of_message(message),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(kind) => kind.get_value(*number).map_or(number.to_string(), |value| {
                let prefix = shouted(kind.name());
                camel(value.name().trim_start_matches(&prefix).trim_start_matches('_'))
            }),
            _ => number.to_string(),
        },
        Value::String(text) => text.replace(' ', "_"),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Bool(value) => value.to_string(),
        Value::List(values) => {
            let values: Vec<_> = values.iter().filter_map(|value| shown(kind, value)).collect();
            format!("[{}]", values.join(","))
        }
        Value::Map(entries) => {
            let kind = match kind {
                Kind::Message(entry) => entry.map_entry_value_field().kind(),
                other => other.clone(),
            };
            let mut entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| {
                    let key = if let MapKey::String(key) = key { key.clone() } else { format!("{key:?}") };
                    format!("{key}:{}", shown(&kind, value).unwrap_or_default())
                })
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
        Value::I32(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
    })
}

fn of_message(message: &DynamicMessage) -> Option<String> {
    let field = |name: &str| message.get_field_by_name(name).map(|value| value.into_owned());
    let number =
        |name: &str| field(name).and_then(|value| value.as_i64().or(value.as_i32().map(i64::from))).unwrap_or(0);
    let text = |name: &str| field(name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let first = |name: &str| {
        let value = field(name)?;
        let list = value.as_list()?.iter().filter_map(|value| of_message(value.as_message()?)).collect::<Vec<_>>();
        Some(list.join(","))
    };
    Some(match message.descriptor().name() {
        "Duration" => {
            let nanos = number("seconds") * 1_000_000_000 + number("nanos");
            return (nanos != 0).then(|| span(nanos));
        }
        "Timestamp" => super::world::since_start(number("seconds") * 1_000_000_000 + number("nanos")),
        "Payloads" => first("payloads")?,
        "Payload" => {
            let data = field("data")?;
            let data = data.as_bytes().cloned().unwrap_or_default();
            if data.len() > 100 {
                format!("<{} bytes>", data.len())
            } else {
                format!("{:?}", String::from_utf8_lossy(&data))
            }
        }
        "TaskQueue" => {
            let kind = if number_of_enum(message, "kind") == 2 { "(sticky)" } else { "" };
            format!("{}{kind}", text("name"))
        }
        "WorkflowExecution" => format!("{}/{}", text("workflow_id"), text("run_id")),
        "WorkflowType" | "ActivityType" => text("name"),
        "Memo" | "SearchAttributes" => {
            let name = if message.descriptor().name() == "Memo" { "fields" } else { "indexed_fields" };
            let descriptor = message.descriptor().get_field_by_name(name)?;
            shown(&descriptor.kind(), &message.get_field(&descriptor))?
        }
        _ => format!("{{{}}}", words_of(message).join(" ")),
    })
}

fn number_of_enum(message: &DynamicMessage, name: &str) -> i32 {
    message.get_field_by_name(name).and_then(|value| value.as_enum_number()).unwrap_or(0)
}

/// Nanoseconds as `1h2m3.5s`.
pub fn span(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    let seconds = total / 1_000_000_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let rest = (total % 60_000_000_000) as f64 / 1e9;
    let mut text = sign.to_owned();
    for (amount, unit) in [(days, "d"), (hours, "h"), (minutes, "m")] {
        if amount > 0 {
            text.push_str(&format!("{amount}{unit}"));
        }
    }
    if rest > 0.0 || text == sign {
        text.push_str(&format!("{rest}s"));
    }
    text
}

/// `TASK_STARTED` as `TaskStarted`.
fn camel(shouted: &str) -> String {
    let words = shouted.split('_').filter(|word| !word.is_empty());
    words.map(|word| format!("{}{}", &word[..1], word[1..].to_lowercase())).collect()
}

/// `RetryState` as `RETRY_STATE`.
fn shouted(camel: &str) -> String {
    let mut text = String::new();
    for c in camel.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(c.to_uppercase());
    }
    text
}
