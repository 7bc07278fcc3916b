//! Every key with its meaning, range and default, as a document.

use std::fmt::Write;

use serde_json::Value;

use crate::schema::{allows, present, schema, words};
use crate::{check, format};

/// The tables of docs/configuration.md, in Markdown: one for each section, made from the schema.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    section(&mut text, &schema(), "");
    text
}

fn section(text: &mut String, schema: &Value, path: &str) {
    let properties = || schema["properties"].as_object().into_iter().flatten();
    if !path.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n### `{path}`\n\n{}\n", prose(schema));
        if properties().next().is_some() {
            text.push_str("\n| key | meaning | allowed | default |\n| --- | --- | --- | --- |\n");
        }
        for (key, of) in properties() {
            let needed = schema["required"].as_array().into_iter().flatten().any(|required| required == key);
            let default = match (&of["default"], needed) {
                (_, true) => "**needed**".to_owned(),
                (Value::Null, _) => String::new(),
                (default, _) => format!("`{default}`").replace('"', ""),
            };
            let _ = writeln!(text, "| `{key}` | {} | {} | {default} |", prose(of), allowed(of));
        }
    }
    for (key, of) in properties() {
        let of = present_section(of);
        if let Some(of) = of {
            section(text, of, &check::joined(path, key));
        }
    }
}

/// The section that a key holds, or that the entries of its list are.
fn present_section(of: &Value) -> Option<&Value> {
    let of = present(of);
    let of = if allows(of, "array") { &of["items"] } else { of };
    (of["properties"].is_object() || allows(of, "object") && of["additionalProperties"] == false).then_some(of)
}

fn prose(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

fn allowed(of: &Value) -> String {
    let of = present(of);
    let bounds = match (&of["x-least"], &of["x-most"], &of["minimum"], &of["maximum"]) {
        (Value::String(least), Value::String(most), ..) => Some(format!("{least} to {most}")),
        (_, _, Value::Number(least), Value::Number(most)) => Some(format!("{least} to {most}")),
        _ => None,
    };
    if let Some(bounds) = bounds {
        return bounds;
    }
    if let Some(words) = words(of) {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    let kind = match of["format"].as_str() {
        Some("outlast-listen-address") => "IP address and port",
        Some("outlast-host-port") => "host and port",
        Some("outlast-name" | "outlast-name-or-empty") => "name",
        Some("outlast-keyspace") => "name of a keyspace",
        Some("outlast-namespace") => "name of a namespace",
        Some(other) if format::allowed(other).is_some() => "text",
        _ if present_section(of).is_some() && allows(of, "array") => "list of sections",
        _ if present_section(of).is_some() => "section",
        _ if allows(of, "array") => return format!("list: {}", allowed(&of["items"])),
        _ if allows(of, "object") => return format!("name: {}", allowed(&of["additionalProperties"])),
        _ if allows(of, "boolean") => "true, false",
        _ => "text",
    };
    kind.to_owned()
}
