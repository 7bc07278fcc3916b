//! What takes the place of keys of the file: environment variables and flags.

use std::ffi::OsString;

use serde_json::Value as Json;

use crate::check::known_keys;
use crate::schema::{allows, present, words};
use crate::suggest::nearest;
use crate::tree::{Entry, Tree, Value};
use crate::{Origin, Problem};

/// What the name of a variable that sets a key begins with. Others are ignored: with one underscore they may be
/// Kubernetes' own, for a service that is called outlast.
pub const PREFIX: &str = "OUTLAST__";

/// Values that take the place of those in the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides(Vec<Override>);

/// One of them. `Debug` is safe: the text is kept apart.
#[derive(Clone)]
struct Override {
    /// As messages name it.
    name: String,
    path: Vec<String>,
    text: Option<String>,
}

impl std::fmt::Debug for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Overrides {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// From environment variables: `OUTLAST__NODE__ID` sets `node.id`. A list of words may be written with commas.
    #[must_use]
    pub fn from_environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut found: Vec<Override> = variables
            .into_iter()
            .filter_map(|(name, text)| {
                let name = name.into_string().ok()?;
                let path = name.strip_prefix(PREFIX)?.split("__").map(str::to_lowercase).collect();
                Some(Override { path, text: text.into_string().ok(), name })
            })
            .collect();
        // A section goes before its keys, so that both may be set.
        found.sort_by(|a, b| (a.path.len(), &a.name).cmp(&(b.path.len(), &b.name)));
        Self(found)
    }

    /// With these roles in place of `node.roles`, unless there are none.
    #[must_use]
    pub fn with_roles(mut self, roles: &[String]) -> Self {
        if !roles.is_empty() {
            let path = vec!["node".to_owned(), "roles".to_owned()];
            self.0.push(Override { name: "--role".to_owned(), path, text: Some(roles.join(",")) });
        }
        self
    }

    /// Puts them into a tree. Returns those that set nothing.
    pub(crate) fn apply(&self, tree: &mut Tree, schema: &Json) -> Vec<Problem> {
        self.0.iter().filter_map(|of| of.apply(tree, schema).err()).collect()
    }
}

impl Override {
    fn apply(&self, tree: &mut Tree, schema: &Json) -> Result<(), Problem> {
        let mut schema = present(schema);
        for (depth, key) in self.path.iter().enumerate() {
            schema = match schema["properties"].get(key) {
                Some(of) => present(of),
                None => return Err(self.unknown(depth, schema)),
            };
        }
        let value = self.value(schema)?;
        self.put(tree, &self.path, value);
        Ok(())
    }

    /// Puts a value where the keys lead, making what is missing on the way.
    fn put(&self, at: &mut Tree, keys: &[String], value: Tree) {
        let Some((key, rest)) = keys.split_first() else {
            *at = value;
            return;
        };
        let origin = Origin::Override(self.name.clone());
        if !matches!(at.value, Value::Map(_)) {
            *at = Tree { value: Value::Map(Vec::new()), origin: origin.clone() };
        }
        if let Value::Map(entries) = &mut at.value {
            let found = entries.iter().position(|entry| entry.key == *key).unwrap_or(entries.len());
            if found == entries.len() {
                let tree = Tree { value: Value::Null, origin: origin.clone() };
                entries.push(Entry { key: key.clone(), origin, tree });
            }
            self.put(&mut entries[found].tree, rest, value);
        }
    }

    /// The text as the key's type wants it: text stays as it is, the rest is YAML.
    fn value(&self, schema: &Json) -> Result<Tree, Problem> {
        let origin = Origin::Override(self.name.clone());
        let Some(text) = &self.text else {
            return Err(Problem::at(&self.path.join("."), &origin, "the value is not UTF-8".to_owned()));
        };
        let word = |text: &str| Tree { value: Value::Text(text.to_owned()), origin: origin.clone() };
        if is_text(schema) {
            return Ok(word(text));
        }
        let tree = Tree::parse_override(&self.name, text)?;
        match &tree.value {
            Value::Text(text) if allows(schema, "array") && is_text(&schema["items"]) => {
                let items = text.split(',').map(|item| word(item.trim())).collect();
                Ok(Tree { value: Value::List(items), origin })
            }
            _ => Ok(tree),
        }
    }

    /// Nothing is called so: `depth` is that of the first unknown word, in `section`.
    fn unknown(&self, depth: usize, section: &Json) -> Problem {
        let known = known_keys(section);
        let path = self.path[..depth].join(".");
        let near = nearest(&self.path[depth], known.iter().copied()).map(|near| {
            let mut path = self.path.clone();
            near.clone_into(&mut path[depth]);
            format!(", did you mean `{PREFIX}{}`?", path.join("__").to_uppercase())
        });
        let whose = if path.is_empty() { "known sections".to_owned() } else { format!("known keys of `{path}`") };
        let known = match known.is_empty() {
            true => format!("`{path}` has no keys: set it as a whole"),
            false => format!("{whose}: {}", known.join(", ")),
        };
        let text = format!("sets no key{} {known}", near.as_deref().unwrap_or(","));
        Problem::at(&self.path.join("."), &Origin::Override(self.name.clone()), text)
    }
}

fn is_text(schema: &Json) -> bool {
    let other = ["integer", "number", "boolean", "object", "array"].iter().any(|kind| allows(schema, kind));
    words(schema).is_some() || allows(schema, "string") && !other
}
