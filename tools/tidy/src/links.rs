//! What the documents point at exists: their links, and the paths that they name in code spans.

use std::collections::BTreeSet;

use crate::source::Tree;
use crate::{Finding, Rule, SourceFile};

/// Code spans that begin with one of these are paths in this repository.
const FOLDERS: &[&str] = &["deploy/", "docs/", "loadtest/", "proto/", "sdk/", "services/", "tools/"];

/// Every link and path that leads nowhere.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut known = BTreeSet::new();
    for file in &tree.files {
        let mut path = file.path.as_str();
        known.insert(path);
        while let Some((folder, _)) = path.rsplit_once('/') {
            known.insert(folder);
            path = folder;
        }
    }
    tree.files.iter().filter(|file| file.path.ends_with(".md")).flat_map(|file| dead_ends(file, &known)).collect()
}

fn dead_ends(file: &SourceFile, known: &BTreeSet<&str>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let links = linked(line).map(|link| resolve(&file.path, link));
        let paths = spans(line).filter(|span| FOLDERS.iter().any(|folder| span.starts_with(folder))).map(str::to_owned);
        for path in links.chain(paths).filter(|path| !known.contains(path.trim_end_matches('/'))) {
            let what = format!("{path:?} does not exist");
            found.push(Finding { rule: Rule::Link, path: file.path.clone(), line: at + 1, what });
        }
    }
    found
}

/// The targets of links to this repository.
fn linked(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or(target))
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

/// The insides of code spans that are one word.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|span| !span.contains([' ', '<', '*', '$']))
}

/// A link's target, seen from the root.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_from_where_they_stand() {
        let line = "[a](../b.md#c), [d](https://e.f), [g](h/)";
        let targets: Vec<_> = linked(line).map(|link| resolve("docs/howto/x.md", link)).collect();
        assert_eq!(targets, ["docs/b.md", "docs/howto/h/"]);
    }

    #[test]
    fn a_path_that_does_not_exist_is_found() {
        let known = BTreeSet::from(["services/ids/src/lib.rs", "services/ids/src", "services/ids", "services"]);
        let text = "`services/ids/` has `services/ids/src/lib.rs` and `services/gone/`; `cargo test`, `slot/`.";
        let file = SourceFile::new("docs/x.md", text.to_owned());
        let found: Vec<_> = dead_ends(&file, &known).into_iter().map(|finding| finding.what).collect();
        assert_eq!(found, ["\"services/gone/\" does not exist"]);
    }
}
