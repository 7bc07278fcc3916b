//! Words that belong to unfinished work, skipped tests or one person's machine.

mod retired;

use crate::source::Tree;
use crate::{Finding, Rule, SourceFile};

/// Searched in code, tests included. Written in two parts so that this file does not find itself.
const MACROS: &[(&str, &str)] = &[
    (concat!("to", "do!("), "finish it, or leave it out and say so"),
    (concat!("unimple", "mented!("), "finish it, or leave it out and say so"),
    (concat!("db", "g!("), "use tracing, or remove it"),
    (concat!("mod", " $"), "list modules plainly: rustfmt does not follow those that a macro declares"),
];

/// A test that does not run proves nothing. One that another test runs, in a process of its own, says so as its reason.
const IGNORED: &str = concat!("#[ig", "nore");
const RUN_BY_ANOTHER: &str = concat!("#[ig", "nore = \"run by ");

/// Searched in every text file.
const MARKERS: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "do it, or write an issue"),
    (concat!("FIX", "ME"), "fix it, or write an issue"),
    (concat!("DES", "IGN §"), "readers have docs/ only: say it, or name the document there"),
    (concat!("pytest.mark.", "skip"), "nothing passes by not running"),
    (concat!("t.", "Skip("), "nothing passes by not running"),
];

/// Folders of one machine.
const MACHINE: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Every banned word, and every Rust file that does not start with what it is.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| !file.path.ends_with(".lock") && !file.path.ends_with(".sum")) {
        found.extend(search(file, &file.text, MARKERS));
        found.extend(machine_paths(file));
        if file.is_rust() {
            found.extend(search(file, &file.code, MACROS));
            found.extend(ignored_tests(file));
            found.extend(module_doc(file));
        }
    }
    found.extend(retired::check(tree));
    found
}

fn search(file: &SourceFile, text: &str, words: &[(&str, &str)]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for (word, advice) in words.iter().filter(|(word, _)| has_word(line, word)) {
            found.push(finding(file, at + 1, format!("{word:?}: {advice}")));
        }
    }
    found
}

fn ignored_tests(file: &SourceFile) -> Vec<Finding> {
    let ignored = |line: &str| line.trim_start().starts_with(IGNORED) && !line.trim_start().starts_with(RUN_BY_ANOTHER);
    let lines = file.text.lines().enumerate().filter(|(_, line)| ignored(line));
    let what = "an ignored test proves nothing: run it, or give \"run by ...\" as the reason";
    lines.map(|(at, _)| finding(file, at + 1, what.to_owned())).collect()
}

/// Whether `word` stands in `line` and is not the end of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_'))
}

fn machine_paths(file: &SourceFile) -> Vec<Finding> {
    let starts = |line: &str, folder: &str| {
        let inside = |letter: char| letter.is_alphanumeric() || "._-}~*/".contains(letter);
        line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(inside))
    };
    file.text
        .lines()
        .enumerate()
        .filter(|(_, line)| MACHINE.iter().any(|folder| starts(line, folder)))
        .map(|(at, _)| finding(file, at + 1, "a path of one machine: make it relative, or a setting".to_owned()))
        .collect()
}

fn module_doc(file: &SourceFile) -> Option<Finding> {
    let missing = !file.text.starts_with("//!");
    missing.then(|| Finding {
        rule: Rule::ModuleDoc,
        path: file.path.clone(),
        line: 1,
        what: "starts without `//!`: say what this file is".to_owned(),
    })
}

fn finding(file: &SourceFile, line: usize, what: String) -> Finding {
    Finding { rule: Rule::Word, path: file.path.clone(), line, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_path_is_not_a_part_of_another() {
        let rows = [
            (concat!("cd /wo", "rk/x"), true),
            (concat!("\"/ho", "me/me\""), true),
            (concat!("docs/wo", "rk/x"), false),
            (concat!("https://a.b/ho", "me/"), false),
        ];
        for (line, expected) in rows {
            let file = SourceFile::new("a.md", line.to_owned());
            assert_eq!(!machine_paths(&file).is_empty(), expected, "{line}");
        }
    }

    #[test]
    fn a_banned_macro_in_a_comment_is_a_word_only() {
        let text = concat!("//! x\n// to", "do!()\nfn a() { to", "do!() }\n");
        let file = SourceFile::new("a/src/b.rs", text.to_owned());
        assert_eq!(search(&file, &file.code, MACROS).len(), 1);
    }

    #[test]
    fn a_module_that_a_macro_declares_is_found() {
        let text = concat!("//! x\nmod a;\nmacro_rules! b { ($m:ident) => { mod", " $m; } }\n");
        let file = SourceFile::new("a/src/b.rs", text.to_owned());
        assert_eq!(search(&file, &file.code, MACROS).len(), 1);
    }
}
