//! Measures what the ratchet holds: lines per file, lines per function, `unwrap()`s per file.

use std::collections::BTreeMap;

use crate::function::functions;
use crate::ratchet::Size;
use crate::source::Tree;
use crate::{Rule, SourceFile};

/// Every size in the repository, by rule and subject.
pub(crate) fn measure(tree: &Tree) -> Vec<Size> {
    let mut sizes: Vec<Size> = tree.files.iter().filter(|file| is_code(&file.path)).map(file_length).collect();
    for file in tree.rust() {
        sizes.extend(function_lengths(file));
        sizes.extend(unwraps(file));
    }
    sizes.sort();
    sizes
}

/// The languages whose files should be short: those that a person writes.
fn is_code(path: &str) -> bool {
    [".rs", ".py", ".go", ".sh"].iter().any(|extension| path.ends_with(extension))
}

fn file_length(file: &SourceFile) -> Size {
    Size {
        rule: Rule::FileLength,
        path: file.path.clone(),
        item: String::new(),
        line: 0,
        value: file.text.lines().count(),
    }
}

/// One size per name: methods of different types may share one, and the longest counts.
fn function_lengths(file: &SourceFile) -> Vec<Size> {
    let mut longest: BTreeMap<&str, Size> = BTreeMap::new();
    for function in functions(file) {
        let size = Size {
            rule: Rule::FunctionLength,
            path: file.path.clone(),
            item: function.name.to_owned(),
            line: function.line,
            value: function.length,
        };
        let known = longest.entry(function.name).or_insert_with(|| size.clone());
        if known.value < size.value {
            *known = size;
        }
    }
    longest.into_values().collect()
}

fn unwraps(file: &SourceFile) -> Option<Size> {
    let calls: Vec<(usize, usize)> = file
        .shipped_lines()
        .map(|(line, code)| (line, code.matches(".unwrap()").count()))
        .filter(|(_, count)| *count > 0)
        .collect();
    let (line, _) = *calls.first()?;
    let value = calls.iter().map(|(_, count)| count).sum();
    Some(Size { rule: Rule::Unwrap, path: file.path.clone(), item: String::new(), line, value })
}
