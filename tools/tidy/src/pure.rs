//! Code that is pure though its crate is not: the time comes as an argument, and it asks nothing.

use crate::source::Tree;
use crate::{Finding, Rule, SourceFile};

/// Folders and files that are pure, by what their paths begin with.
const PURE: &[&str] = &[
    "services/entities/src/arrival.rs",
    "services/entities/src/checkpoint",
    "services/entities/src/entity_slot.rs",
    "services/entities/src/fence_checks.rs",
    "services/entities/src/job.rs",
    "services/entities/src/loading.rs",
    "services/entities/src/log_ownership.rs",
    "services/entities/src/log_writer.rs",
    "services/entities/src/moment.rs",
    "services/entities/src/obligations.rs",
    "services/entities/src/quarantine.rs",
    "services/entities/src/shard_state",
    "services/entities/src/tail.rs",
    "services/entities/src/wake_ups",
];

/// What they do without: tasks and waiting, clocks and randomness, stores.
const IMPURE: &[&str] =
    &["tokio", "async", "await", "spawn", "Runtime", "Store", "Table", "Registry", "Instant", "SystemTime"];

/// Every impure word in pure code outside tests.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().filter(|file| PURE.iter().any(|pure| file.path.starts_with(pure))).flat_map(impurities).collect()
}

fn impurities(file: &SourceFile) -> Vec<Finding> {
    let mut found = Vec::new();
    for (line, code) in file.shipped_lines() {
        let mut words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        if let Some(word) = words.find(|word| IMPURE.contains(word)) {
            let what = format!("{word:?} in pure code: make it a job, and what comes of it an arrival");
            found.push(Finding { rule: Rule::Pure, path: file.path.clone(), line, what });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_pure_code_is_found_and_a_word_that_contains_one_is_not() {
        let rows = [
            ("use storage::Store;\n", true),
            ("async fn a() {}\n", true),
            ("let is_stored = spawned; // tokio\n", false),
            ("#[cfg(test)]\nmod tests {\n    use storage::Store;\n}\n", false),
        ];
        for (code, expected) in rows {
            let file = SourceFile::new("a/src/b.rs", code.to_owned());
            assert_eq!(!impurities(&file).is_empty(), expected, "{code}");
        }
    }
}
