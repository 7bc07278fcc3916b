//! Private words where the field has a standard one: `docs/glossary.md`.

use super::finding;
use crate::source::Tree;
use crate::{Finding, SourceFile};

/// Each with what to write instead. Found as whole words in any case, in text and in the parts of `snake_case` names, and
/// over the ends of lines. Written in two parts so that this file does not find itself.
const RETIRED: &[(&str, &str)] = &[
    (concat!("who", "ever"), NAME_IT),
    (concat!("no", "body"), NAME_IT),
    (concat!("no", "bodys"), NAME_IT),
    (concat!("some", "body"), NAME_IT),
    (concat!("any", "body"), NAME_IT),
    (concat!("every", "body"), NAME_IT),
    (concat!("to", "ld"), SEND),
    (concat!("te", "lls"), SEND),
    (concat!("te", "lling"), SEND),
    (concat!("pat", "ience"), "timeout, deadline or grace"),
    (concat!("se", "t aside"), "quarantine"),
    (concat!("set", "s aside"), "quarantine"),
    (concat!("for", "saken"), "cancelled"),
    (concat!("un", "born"), "vacant or empty"),
    (concat!("acc", "use"), "suspect"),
    (concat!("acc", "usation"), "suspect"),
    (concat!("con", "vict"), "confirm as corrupt"),
    (concat!("hol", "d office"), "lead"),
    (concat!("good", "bye"), "leave or shut down"),
    (concat!("as", "ker"), "caller"),
    (concat!("por", "trait"), "description"),
    (concat!("as", "kers"), "callers"),
    (concat!("nud", "ge"), "wake"),
    (concat!("nud", "ges"), "wakes"),
];

const NAME_IT: &str = "name the component: the caller, the owner, a poller, no node";
const SEND: &str = "send, notify, report, return, show or distinguish";

/// What others wrote.
const FOREIGN: &[&str] = &["proto/api/"];

/// Every retired word.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files.iter().filter(|file| is_covered(&file.path)).flat_map(search).collect()
}

fn is_covered(path: &str) -> bool {
    let is_excluded = FOREIGN.iter().any(|folder| path.starts_with(folder));
    !is_excluded && !path.ends_with(".lock") && !path.ends_with(".sum")
}

fn search(file: &SourceFile) -> Vec<Finding> {
    let words = words(&file.text);
    let mut found = Vec::new();
    for (retired, advice) in RETIRED {
        let parts: Vec<&str> = retired.split(' ').collect();
        for window in words.windows(parts.len()) {
            if window.iter().zip(&parts).all(|((_, word), part)| word == part) {
                found.push(finding(file, window[0].0, format!("{retired:?} is retired: {advice}")));
            }
        }
    }
    found
}

/// All words in lower case, with their lines from 1.
fn words(text: &str) -> Vec<(usize, String)> {
    let of_line = |(at, line): (usize, &str)| {
        let words = line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(|word| (at + 1, word.to_lowercase())).collect::<Vec<_>>()
    };
    text.lines().enumerate().flat_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retired_words_are_found_in_text_and_names_and_over_line_ends() {
        let rows = [
            (concat!("/// ", "Who", "ever calls."), 1),
            (concat!("fn no", "body_answers() {}"), 1),
            (concat!("STICKY_PAT", "IENCE"), 1),
            (concat!("// it is set\n// as", "ide"), 1),
            ("a body, some bodies, a set; outpatients", 0),
        ];
        for (text, expected) in rows {
            let file = SourceFile::new("services/ids/src/a.rs", text.to_owned());
            assert_eq!(search(&file).len(), expected, "{text}");
        }
    }

    #[test]
    fn foreign_files_and_locks_are_not_searched() {
        assert!(is_covered("docs/glossary.md"));
        assert!(!is_covered("proto/api/src/texts.rs"));
        assert!(!is_covered("Cargo.lock"));
    }
}
