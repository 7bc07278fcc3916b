//! Holds a tree against the schema: unknown keys, missing keys, types, ranges, formats. Everything at once.

use serde_json::{Map, Value as Json};

use crate::schema::{allows, present, words};
use crate::suggest::nearest;
use crate::tree::{Entry, Tree, Value};
use crate::{ByteSize, Origin, Problem, Span, format};

/// What is usable of a tree, as JSON, and what is wrong with the rest.
pub(crate) fn check(tree: &Tree, schema: &Json) -> (Json, Vec<Problem>) {
    let mut found = Found(Vec::new());
    let usable = found.walk(tree, schema, "").unwrap_or_else(|| Json::Object(Map::new()));
    (usable, found.0)
}

/// `a.b` from `a` and `b`.
pub(crate) fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The keys of a section, as messages list them.
pub(crate) fn known_keys(section: &Json) -> Vec<&str> {
    section["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

struct Found(Vec<Problem>);

impl Found {
    /// The value as JSON; `None` when it is unusable, which has been reported, or absent.
    fn walk(&mut self, tree: &Tree, schema: &Json, path: &str) -> Option<Json> {
        let nullable = allows(schema, "null") || !std::ptr::eq(present(schema), schema);
        let schema = present(schema);
        match &tree.value {
            Value::Null if schema["properties"].is_object() && !(nullable && path.contains('.')) => {
                self.section(&[], &tree.origin, schema, path)
            }
            Value::Null if nullable => None,
            Value::Map(entries) if allows(schema, "object") => match schema["properties"].is_object() {
                true => self.section(entries, &tree.origin, schema, path),
                false if schema["additionalProperties"].is_object() => self.free_map(entries, schema, path),
                false => self.section(entries, &tree.origin, schema, path),
            },
            Value::List(items) if allows(schema, "array") => self.list(items, tree, schema, path),
            Value::Bool(value) if allows(schema, "boolean") => Some(Json::Bool(*value)),
            Value::Integer(value) if allows(schema, "integer") => self.integer(*value, tree, schema, path),
            Value::Integer(_) | Value::Float(_) if allows(schema, "number") => self.float(tree, schema, path),
            Value::Text(text) if allows(schema, "string") || words(schema).is_some() => {
                self.text(text, tree, schema, path)
            }
            _ => {
                self.wrong_type(tree, schema, path);
                None
            }
        }
    }

    fn section(&mut self, entries: &[Entry], origin: &Origin, schema: &Json, path: &str) -> Option<Json> {
        let mut usable = Map::new();
        let known = known_keys(schema);
        for Entry { key, origin, tree } in entries {
            let path = joined(path, key);
            if !known.contains(&key.as_str()) {
                let text = format!("unknown key `{path}`{}", suggestion(key, &known));
                self.0.push(Problem::at(&path, origin, text));
            } else if let Some(value) = self.walk(tree, &schema["properties"][key], &path) {
                usable.insert(key.clone(), value);
            }
        }
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if !entries.iter().any(|entry| entry.key == key) {
                let of = &schema["properties"][key];
                let path = joined(path, key);
                let what = of["description"].as_str().unwrap_or_default().split(['.', ':']).next().unwrap_or_default();
                let text = format!("`{path}` is not set, and it is needed: {}", lowercased(what));
                self.0.push(Problem::at(&path, origin, text.replace('\n', " ")));
            }
        }
        Some(Json::Object(usable))
    }

    fn free_map(&mut self, entries: &[Entry], schema: &Json, path: &str) -> Option<Json> {
        let mut usable = Map::new();
        for Entry { key, tree, .. } in entries {
            if let Some(value) = self.walk(tree, &schema["additionalProperties"], &joined(path, key)) {
                usable.insert(key.clone(), value);
            }
        }
        Some(Json::Object(usable))
    }

    fn list(&mut self, items: &[Tree], tree: &Tree, schema: &Json, path: &str) -> Option<Json> {
        if let Some(least) = schema["minItems"].as_u64().filter(|least| (items.len() as u64) < *least) {
            let text = format!("`{path}` has {} entries, at least {least} is needed", items.len());
            self.0.push(Problem::at(path, &tree.origin, text));
            return None;
        }
        let items = items.iter().enumerate();
        let usable: Vec<Option<Json>> =
            items.map(|(at, item)| self.walk(item, &schema["items"], &format!("{path}[{at}]"))).collect();
        Some(Json::Array(usable.into_iter().flatten().collect()))
    }

    fn integer(&mut self, value: i128, tree: &Tree, schema: &Json, path: &str) -> Option<Json> {
        let above = |bound: &Json| bound.as_i64().is_none_or(|bound| value >= i128::from(bound));
        let below = |bound: &Json| bound.as_i64().is_none_or(|bound| value <= i128::from(bound));
        let size = u64::try_from(value).ok();
        if schema["format"] == "outlast-byte-size" {
            match size {
                Some(size) => self.bounded(ByteSize::from(size), tree, schema, path)?,
                None => self.refuse(tree, schema, path)?,
            }
        } else if !above(&schema["minimum"]) || !below(&schema["maximum"]) {
            self.refuse(tree, schema, path)?;
        }
        i64::try_from(value).ok().map(Json::from).or_else(|| size.map(Json::from))
    }

    fn float(&mut self, tree: &Tree, schema: &Json, path: &str) -> Option<Json> {
        let value = match tree.value {
            Value::Float(value) => value,
            #[allow(clippy::cast_precision_loss, reason = "a rate that large is refused by its range")]
            Value::Integer(value) => value as f64,
            _ => return None,
        };
        let above = schema["minimum"].as_f64().is_none_or(|bound| value >= bound);
        let below = schema["maximum"].as_f64().is_none_or(|bound| value <= bound);
        if !above || !below {
            self.refuse(tree, schema, path)?;
        }
        Some(Json::from(value))
    }

    fn text(&mut self, text: &str, tree: &Tree, schema: &Json, path: &str) -> Option<Json> {
        if let Some(words) = words(schema) {
            if !words.contains(&text) {
                let near = nearest(text, words.iter().copied()).map(|word| format!(", did you mean `{word}`?"));
                let text = format!(
                    "`{path}` is {}{} {} is allowed",
                    shown(tree, schema),
                    near.as_deref().unwrap_or(","),
                    one_of(&words)
                );
                self.0.push(Problem::at(path, &tree.origin, text));
                return None;
            }
        } else if let Some(Err(_)) = schema["format"].as_str().and_then(|format| format::check(format, text)) {
            self.refuse(tree, schema, path)?;
        } else if schema["minLength"].as_u64().is_some_and(|least| (text.len() as u64) < least) {
            let text = format!("`{path}` is empty, leave it out or give it a value");
            self.0.push(Problem::at(path, &tree.origin, text));
            return None;
        }
        match schema["format"].as_str() {
            Some("outlast-duration") => self.bounded(text.parse::<Span>().ok()?, tree, schema, path)?,
            Some("outlast-byte-size") => self.bounded(text.parse::<ByteSize>().ok()?, tree, schema, path)?,
            _ => {}
        }
        Some(Json::from(text))
    }

    /// Holds a duration or a size against its bounds.
    fn bounded<T: Ord + std::str::FromStr>(&mut self, value: T, tree: &Tree, schema: &Json, path: &str) -> Option<()> {
        let bound = |name: &str| schema[name].as_str().and_then(|bound| bound.parse::<T>().ok());
        let low = bound("x-least").is_some_and(|least| value < least);
        let high = bound("x-most").is_some_and(|most| value > most);
        if low || high { self.refuse(tree, schema, path) } else { Some(()) }
    }

    fn wrong_type(&mut self, tree: &Tree, schema: &Json, path: &str) {
        let quoted = matches!(tree.value, Value::Bool(_) | Value::Integer(_) | Value::Float(_));
        if quoted && allows(schema, "string") && schema["format"].is_null() && words(schema).is_none() {
            let text = format!("`{path}` is {}, which is not text: put it in quotes", shown(tree, schema));
            self.0.push(Problem::at(path, &tree.origin, text));
        } else if path.is_empty() {
            let text =
                format!("the file is {}, sections are needed: {}", shown(tree, schema), known_keys(schema).join(", "));
            self.0.push(Problem::at(path, &tree.origin, text));
        } else {
            self.refuse(tree, schema, path);
        }
    }

    /// Says what the value is and what is allowed. Always `None`, for `?`.
    fn refuse(&mut self, tree: &Tree, schema: &Json, path: &str) -> Option<()> {
        let text = format!("`{path}` is {}, {}", shown(tree, schema), allowed(schema));
        self.0.push(Problem::at(path, &tree.origin, text));
        None
    }
}

/// What a value may be.
fn allowed(schema: &Json) -> String {
    let bounds = match (&schema["x-least"], &schema["x-most"], &schema["minimum"], &schema["maximum"]) {
        (Json::String(least), Json::String(most), ..) => Some(format!("{least} to {most}")),
        (_, _, Json::Number(least), Json::Number(most)) => Some(format!("{least} to {most}")),
        _ => None,
    };
    let words = words(schema);
    let format = schema["format"].as_str().and_then(format::allowed);
    match (format, bounds, words) {
        (Some(format), Some(bounds), _) => format!("{format}, from {bounds}"),
        (Some(format), None, _) => format.to_owned(),
        (None, Some(bounds), _) => format!("{bounds} is allowed"),
        (None, None, Some(words)) => format!("{} is allowed", one_of(&words)),
        (None, None, None) if allows(schema, "object") => match known_keys(schema) {
            keys if keys.is_empty() => "{} or keys with values are allowed".to_owned(),
            keys => format!("keys with values are allowed: {}", keys.join(", ")),
        },
        (None, None, None) if allows(schema, "array") => "a list is allowed, as in [a, b]".to_owned(),
        (None, None, None) if allows(schema, "boolean") => "true or false is allowed".to_owned(),
        (None, None, None) => "text is allowed".to_owned(),
    }
}

/// A value for a message; never a secret.
fn shown(tree: &Tree, schema: &Json) -> String {
    if schema["writeOnly"] == true {
        return "something that is not shown".to_owned();
    }
    match &tree.value {
        Value::Null => "empty".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) if text.chars().count() > 60 => format!("{:?}…", text.chars().take(60).collect::<String>()),
        Value::Text(text) => format!("{text:?}"),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Map(_) => "a map".to_owned(),
    }
}

/// `, did you mean …? known keys: …`
fn suggestion(key: &str, known: &[&str]) -> String {
    match (nearest(key, known.iter().copied()), known.is_empty()) {
        (Some(near), _) => format!(", did you mean `{near}`? known keys: {}", known.join(", ")),
        (None, false) => format!(", known keys: {}", known.join(", ")),
        (None, true) => ", no key is known here".to_owned(),
    }
}

fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.join(""),
    }
}

fn lowercased(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
