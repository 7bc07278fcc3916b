//! Names of files, folders and types say what a thing is. A name that would fit anything says nothing, and what it
//! names grows without an end.

use crate::source::Tree;
use crate::{Finding, Rule, SourceFile};

const VAGUE: &[&str] = &[
    "base", "common", "helper", "helpers", "impl", "manager", "misc", "mod", "shared", "stuff", "types", "util",
    "utils",
];

const VAGUE_ENDINGS: &[&str] = &["Base", "Helper", "Helpers", "Impl", "Manager", "Util", "Utils"];

/// Whether a file's, folder's or crate's name is one of those that would fit anything.
pub(crate) fn is_vague(name: &str) -> bool {
    let last = name.rsplit(['_', '-']).next().unwrap_or(name);
    VAGUE.contains(&last) || (name.ends_with('2') && name != "http2")
}

/// Every name that says nothing.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let code = |file: &&SourceFile| [".rs", ".py", ".go"].iter().any(|end| file.path.ends_with(end));
    let mut found: Vec<Finding> = tree.files.iter().filter(code).filter_map(path_name).collect();
    found.extend(tree.rust().flat_map(type_names));
    found
}

fn path_name(file: &SourceFile) -> Option<Finding> {
    let mut parts = file.path.split('/').map(|part| part.split('.').next().unwrap_or(part));
    let vague = parts.find(|part| is_vague(part))?;
    let what = match vague {
        "mod" => "`mod.rs` is not used: put `x.rs` beside the folder `x/`".to_owned(),
        _ => format!("{vague:?} would fit anything: name it for what it is"),
    };
    Some(Finding { rule: Rule::Name, path: file.path.clone(), line: 0, what })
}

fn type_names(file: &SourceFile) -> Vec<Finding> {
    let declared = |code: &str| {
        let mut words = code.split_whitespace().skip_while(|word| word.starts_with("pub"));
        matches!(words.next()?, "struct" | "enum" | "trait" | "type").then_some(())?;
        let rest = words.next()?;
        rest.split(|letter: char| !letter.is_alphanumeric()).next().map(str::to_owned)
    };
    file.code
        .lines()
        .enumerate()
        .filter_map(|(at, code)| Some((at + 1, declared(code)?)))
        .filter(|(_, name)| VAGUE_ENDINGS.iter().any(|ending| name.ends_with(ending)))
        .map(|(line, name)| Finding {
            rule: Rule::Name,
            path: file.path.clone(),
            line,
            what: format!("type {name:?} is named for no thing in particular: name it for what it is"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vague_names_are_known_wherever_they_stand() {
        assert!(["utils", "string_helpers", "task-types", "queue2"].iter().all(|name| is_vague(name)));
        assert!(!["retry", "timestamps", "base64url", "prototypes", "sha256"].iter().any(|name| is_vague(name)));
    }

    #[test]
    fn vague_types_are_found() {
        let file = SourceFile::new("a/src/b.rs", "pub(crate) struct TaskManager<T> {\nenum Outcome {\n".into());
        assert_eq!(type_names(&file).len(), 1);
    }
}
