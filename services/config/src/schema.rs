//! The JSON schema, made from the structs.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::Config;

/// The schema of the file: JSON Schema 2020-12, without references.
///
/// `x-least` and `x-most` bound durations and sizes in their own notation. Text formats that begin with `outlast-` are
/// described where they are used.
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
    tidy(&mut schema);
    schema["title"] = json!("Configuration of outlast server start");
    schema
}

/// As it is published in docs/config.schema.json.
#[must_use]
pub fn published_schema() -> String {
    // A value that came from JSON always goes back.
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

/// Leaves out what is documented elsewhere: a section's default is that of its keys, and null for an absent one.
fn tidy(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    let is_section = object.contains_key("properties");
    if object.get("default").is_some_and(|default| default.is_null() || is_section) {
        object.remove("default");
    }
    for nested in ["items", "additionalProperties"] {
        if let Some(nested) = object.get_mut(nested) {
            tidy(nested);
        }
    }
    if let Some(choices) = object.get_mut("anyOf").and_then(Value::as_array_mut) {
        choices.iter_mut().for_each(tidy);
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(tidy);
    }
}

/// A schema without the choice of null: what the value has to be when there is one.
pub(crate) fn present(schema: &Value) -> &Value {
    let choices = schema["anyOf"].as_array().into_iter().flatten();
    choices.into_iter().find(|choice| choice["type"] != "null").unwrap_or(schema)
}

/// Whether a value of a type (as JSON Schema names them) is allowed.
pub(crate) fn allows(schema: &Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::String(only) => only == kind,
        Value::Array(kinds) => kinds.iter().any(|allowed| allowed == kind),
        _ => false,
    }
}

/// The words that are allowed, when only words are.
pub(crate) fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(words) = schema["enum"].as_array() {
        return Some(words.iter().filter_map(Value::as_str).collect());
    }
    let words = schema["oneOf"].as_array()?;
    Some(words.iter().filter_map(|word| word["const"].as_str()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check of a file looks at these and no others, so no other may stand in the schema.
    const LOOKED_AT: &[&str] = &[
        "type",
        "properties",
        "additionalProperties",
        "required",
        "items",
        "enum",
        "oneOf",
        "const",
        "anyOf",
        "minimum",
        "maximum",
        "minLength",
        "minItems",
        "format",
        "x-least",
        "x-most",
        "writeOnly",
    ];
    /// `pattern` says for other readers of the schema what `format` does here.
    const FOR_READERS: &[&str] = &["$schema", "title", "description", "default", "pattern"];
    /// What serde's numbers are called; the bounds are there too.
    const NUMBER_FORMATS: &[&str] = &["uint32", "uint64", "int64", "double"];

    fn every_schema(schema: &Value, seen: &mut dyn FnMut(&Value)) {
        seen(schema);
        for nested in ["items", "additionalProperties"] {
            if schema[nested].is_object() {
                every_schema(&schema[nested], seen);
            }
        }
        for choice in ["anyOf", "oneOf"].into_iter().filter_map(|choice| schema[choice].as_array()).flatten() {
            every_schema(choice, seen);
        }
        schema["properties"].as_object().into_iter().flatten().for_each(|(_, of)| every_schema(of, seen));
    }

    #[test]
    fn nothing_stands_in_the_schema_that_is_not_enforced() {
        every_schema(&schema(), &mut |at| {
            for (keyword, value) in at.as_object().into_iter().flatten() {
                let known = LOOKED_AT.contains(&keyword.as_str()) || FOR_READERS.contains(&keyword.as_str());
                assert!(known, "{keyword} of {at}");
                if let ("format", Some(format)) = (keyword.as_str(), value.as_str()) {
                    let known = crate::format::check(format, "").is_some() || NUMBER_FORMATS.contains(&format);
                    assert!(known, "{format} of {at}");
                    assert_eq!(crate::format::check(format, "").is_some(), crate::format::allowed(format).is_some());
                }
            }
        });
    }

    #[test]
    fn every_key_is_described_and_every_number_bounded() {
        every_schema(&schema(), &mut |at| {
            for (key, of) in at["properties"].as_object().into_iter().flatten() {
                assert!(of["description"].is_string(), "{key} is not described");
                let counts = allows(of, "integer") && of["format"] != "outlast-byte-size" || allows(of, "number");
                assert!(!counts || of["minimum"].is_number() && of["maximum"].is_number(), "{key} has no range");
                let spans = of["format"] == "outlast-duration" || of["format"] == "outlast-byte-size";
                assert!(!spans || of["x-least"].is_string() && of["x-most"].is_string(), "{key} has no range");
            }
        });
    }
}
