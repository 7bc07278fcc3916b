//! The repository's own rules, checked over its sources and its dependency graph: which crate may name which, how long
//! files and functions may grow, which words and names do not belong.
//!
//! Nothing depends on this crate and it is in no binary that ships. The tests in `tests/` say which rules hold;
//! `cargo run -p tidy` prints every finding, `cargo run -p tidy -- record` writes the present sizes into the ratchet.
//!
//! Start at [`findings`].

pub mod arrows;
mod function;
mod graph;
mod links;
mod mask;
mod names;
mod pure;
pub mod ratchet;
mod sizes;
mod source;
mod words;

use std::fmt;
use std::path::PathBuf;

pub use graph::{Crate, Graph};
pub use source::{SourceFile, Tree};

/// One place that breaks one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// The file, relative to the repository.
    pub path: String,
    /// The line, from 1; 0 where the whole file or crate is meant.
    pub line: usize,
    /// What is wrong and what would be accepted.
    pub what: String,
}

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Dependencies between crates point one way.
    Arrow,
    /// Files, folders, crates and types are named for what they are.
    Name,
    /// Every Rust file starts by saying what it is.
    ModuleDoc,
    /// No macros, markers, skips or machine paths that belong to unfinished work.
    Word,
    /// What documents point at exists.
    Link,
    /// Code that is pure asks nothing.
    Pure,
    /// Files stay within 800 lines.
    FileLength,
    /// Functions outside tests stay within 70 lines.
    FunctionLength,
    /// `unwrap()` stays in tests.
    Unwrap,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// The repository that this crate lies in.
#[must_use]
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every finding in the sources, by rule and path. Those in the dependency graph are [`arrows::findings`].
///
/// # Errors
/// When git or a file cannot be read.
pub fn findings() -> anyhow::Result<Vec<Finding>> {
    let root = repository();
    let tree = Tree::read(&root)?;
    let mut all = names::check(&tree);
    all.extend(links::check(&tree));
    all.extend(words::check(&tree));
    all.extend(pure::check(&tree));
    all.extend(ratchet::check(&sizes::measure(&tree), &ratchet::read(&root)?));
    all.sort();
    Ok(all)
}

/// The sizes that the ratchet would record now.
///
/// # Errors
/// When git or a file cannot be read.
pub fn sizes() -> anyhow::Result<Vec<ratchet::Size>> {
    Ok(sizes::measure(&Tree::read(&repository())?))
}
