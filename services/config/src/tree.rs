//! YAML as a tree whose nodes know their lines.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, Spanned};

use crate::{Origin, Problem};

/// Far more than a configuration needs. Bytes.
pub(crate) const LARGEST_FILE: usize = 1 << 20;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// What YAML can say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) origin: Origin,
    pub(crate) tree: Tree,
}

impl Tree {
    /// Reads a file's text. An empty file is an empty map.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > LARGEST_FILE {
            let text = format!("the file has {} bytes, at most {LARGEST_FILE} are allowed", text.len());
            return Err(Problem::missing("", text));
        }
        let parsed: Self = serde_saphyr::from_str_with_options(text, options()).map_err(|error| refusal(&error))?;
        Ok(match parsed.value {
            Value::Null => Self { value: Value::Map(Vec::new()), ..parsed },
            _ => parsed,
        })
    }

    /// Reads the text of an override.
    pub(crate) fn parse_override(name: &str, text: &str) -> Result<Self, Problem> {
        let parsed: Result<Self, _> = serde_saphyr::from_str_with_options(text, options());
        let mut tree = parsed.map_err(|error| {
            let why = error.without_snippet().to_string();
            Problem::at("", &Origin::Override(name.to_owned()), format!("is not YAML: {why}"))
        })?;
        tree.stands_in(name);
        Ok(tree)
    }

    fn stands_in(&mut self, name: &str) {
        self.origin = Origin::Override(name.to_owned());
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.stands_in(name)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.origin = Origin::Override(name.to_owned());
                entry.tree.stands_in(name);
            }),
            _ => {}
        }
    }

    /// The value of a key, or the value itself for an empty path.
    pub(crate) fn find(&self, path: &str) -> Option<&Self> {
        let mut at = self;
        for key in path.split('.').filter(|key| !key.is_empty()) {
            let Value::Map(entries) = &at.value else { return None };
            at = &entries.iter().find(|entry| entry.key == key)?.tree;
        }
        Some(at)
    }
}

/// What is allowed of YAML: enough for any sensible file, and no bombs. Errors quote nothing of the file, which holds
/// secrets.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_events: 20_000,
            max_nodes: 10_000,
            max_depth: 32,
            max_aliases: 100,
            max_anchors: 100,
            max_total_scalar_bytes: LARGEST_FILE,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn refusal(error: &serde_saphyr::Error) -> Problem {
    let line = error.location().map_or(0, |at| at.line());
    Problem::at("", &Origin::File { line }, format!("the file cannot be read as YAML: {}", error.without_snippet()))
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, origin: Origin::File { line: spanned.referenced.line() } })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let origin = Origin::File { line: key.referenced.line() };
            map.push(Entry { key: key.value, origin, tree: entries.next_value()? });
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_lines() {
        let tree = Tree::parse("a:\n  b: 5\n  c: [x, 1.5]\nd: null\n").unwrap();
        assert_eq!(tree.find("a.b"), Some(&Tree { value: Value::Integer(5), origin: Origin::File { line: 2 } }));
        assert_eq!(tree.find("d").map(|d| &d.value), Some(&Value::Null));
        let Value::List(items) = &tree.find("a.c").unwrap().value else { panic!() };
        assert_eq!(items[0].value, Value::Text("x".into()));
        assert_eq!(items[1], Tree { value: Value::Float(1.5), origin: Origin::File { line: 3 } });
        assert_eq!(tree.find("a.x"), None);
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        for text in ["", "\n", "# nothing\n", "---\n"] {
            assert_eq!(Tree::parse(text).unwrap().value, Value::Map(Vec::new()), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_a_plain_yaml_document_is_refused_with_its_line() {
        let deep = "[".repeat(10_000);
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
        let many = "- x\n".repeat(20_000);
        for (text, line) in [
            ("a: 1\nb: [", 2),
            ("a: 1\na: 2\n", 2),
            ("a:\n\t- 1\n", 2),
            ("a: 1\n---\nb: 2\n", 0),
            (bomb, 0),
            (deep.as_str(), 0),
            (many.as_str(), 0),
        ] {
            let problem = Tree::parse(text).unwrap_err();
            assert!(problem.text.starts_with("the file cannot be read as YAML: "), "{problem}");
            assert!(problem.text.len() < 300, "{problem}");
            if line > 0 {
                let Some(Origin::File { line: said }) = problem.origin else { panic!("{problem}") };
                assert!(said == line || said == line + 1, "{said} {problem}");
            }
        }
        let large = "#".repeat(LARGEST_FILE + 1);
        assert!(Tree::parse(&large).unwrap_err().text.starts_with("the file has 1048577 bytes"));
    }

    #[test]
    fn an_error_quotes_no_values() {
        let problem = Tree::parse("password: hunter2\npassword: hunter3\nx: [\n").unwrap_err();
        assert!(!problem.to_string().contains("hunter"), "{problem}");
    }
}
