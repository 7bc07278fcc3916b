//! The ratchet: a committed list of what is longer than it should be. What is on it may shrink and may not grow; what is
//! not on it keeps to the limits. So age is no offence, growth is.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{Finding, Rule};

/// A measured size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Which of the ratcheted rules.
    pub rule: Rule,
    /// The file.
    pub path: String,
    /// The function; empty where the file is meant.
    pub item: String,
    /// Where it begins, for the message; not recorded.
    pub line: usize,
    /// Lines, or calls.
    pub value: usize,
}

/// Recorded sizes by rule, path and item.
pub type Recorded = BTreeMap<(Rule, String, String), usize>;

impl Size {
    /// Whether it is worth printing although it is allowed.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.rule == Rule::FileLength && self.value > 500
    }

    fn key(&self) -> (Rule, String, String) {
        (self.rule, self.path.clone(), self.item.clone())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = if self.item.is_empty() { String::new() } else { format!(" {}", self.item) };
        write!(f, "{}{item}: {} {}", self.path, self.value, unit(self.rule))
    }
}

/// The largest value that needs no entry.
fn limit(rule: Rule) -> usize {
    match rule {
        Rule::FileLength => 800,
        Rule::FunctionLength => 70,
        _ => 0,
    }
}

fn unit(rule: Rule) -> &'static str {
    if rule == Rule::Unwrap { "unwrap() outside tests" } else { "lines" }
}

/// The word by which the file names a rule.
fn word(rule: Rule) -> &'static str {
    match rule {
        Rule::FileLength => "file",
        Rule::FunctionLength => "function",
        _ => "unwrap",
    }
}

fn path(root: &Path) -> PathBuf {
    root.join("tools/tidy/ratchet.txt")
}

/// What is above both its limit and its recorded size.
#[must_use]
pub fn check(sizes: &[Size], recorded: &Recorded) -> Vec<Finding> {
    let allowed = |size: &Size| limit(size.rule).max(recorded.get(&size.key()).copied().unwrap_or(0));
    sizes
        .iter()
        .filter(|size| size.value > allowed(size))
        .map(|size| Finding {
            rule: size.rule,
            path: size.path.clone(),
            line: size.line,
            what: match size.item.as_str() {
                "" => format!("{} {}, at most {} allowed", size.value, unit(size.rule), allowed(size)),
                item => format!("`{item}` has {} {}, at most {} allowed", size.value, unit(size.rule), allowed(size)),
            },
        })
        .collect()
}

/// Reads the committed list.
///
/// # Errors
/// When it is missing or a line of it is invalid.
pub fn read(root: &Path) -> Result<Recorded> {
    let path = path(root);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Recorded> {
    let mut recorded = Recorded::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (rule, path, item, value) = match words[..] {
            ["file", path, value] => (Rule::FileLength, path, "", value),
            ["unwrap", path, value] => (Rule::Unwrap, path, "", value),
            ["function", path, item, value] => (Rule::FunctionLength, path, item, value),
            _ => bail!("unknown ratchet line {line:?}: expected `file|unwrap PATH N` or `function PATH NAME N`"),
        };
        recorded.insert((rule, path.to_owned(), item.to_owned()), value.parse().with_context(|| line.to_owned())?);
    }
    Ok(recorded)
}

/// Writes the sizes that are above their limits as the new list. A reviewer sees in the diff what grew.
///
/// # Errors
/// When the file cannot be written.
pub fn write(root: &Path, sizes: &[Size]) -> Result<()> {
    let mut text = String::from(
        "# What is longer than it should be; it may shrink and may not grow. `make ratchet` writes this file.\n",
    );
    for size in sizes.iter().filter(|size| size.value > limit(size.rule)) {
        let item = if size.item.is_empty() { String::new() } else { format!("{} ", size.item) };
        writeln!(text, "{} {} {item}{}", word(size.rule), size.path, size.value)?;
    }
    std::fs::write(path(root), text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(value: usize) -> Size {
        Size { rule: Rule::FunctionLength, path: "a.rs".into(), item: "f".into(), line: 3, value }
    }

    #[test]
    fn what_is_recorded_may_shrink_and_not_grow() {
        let recorded = parse("# why\nfunction a.rs f 90\n").unwrap();
        assert!(check(&[size(70), size(80), size(90)], &recorded).is_empty());
        assert_eq!(check(&[size(91)], &recorded)[0].to_string(), "a.rs:3: `f` has 91 lines, at most 90 allowed");
    }

    #[test]
    fn what_is_not_recorded_keeps_to_the_limit() {
        assert!(check(&[size(70)], &Recorded::new()).is_empty());
        assert_eq!(check(&[size(71)], &Recorded::new()).len(), 1);
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        assert!(parse("function a.rs 9\n").unwrap_err().to_string().contains("function a.rs 9"));
    }
}
