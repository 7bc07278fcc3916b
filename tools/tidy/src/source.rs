//! The files of the repository, as git knows them, with what is needed to check their text.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::mask::mask;

/// All text files of the repository.
pub struct Tree {
    /// By path.
    pub files: Vec<SourceFile>,
}

/// A text file.
pub struct SourceFile {
    /// Relative to the repository, with `/`.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// The text with comments and the insides of literals blanked, line by line the same; empty unless it is Rust.
    pub code: String,
    /// For each line of `code`, whether it belongs to a test.
    pub in_test: Vec<bool>,
}

impl Tree {
    /// Reads every file that git tracks, or would track. Files that are not UTF-8 are left out.
    ///
    /// # Errors
    /// When git or the disk fails.
    pub fn read(root: &Path) -> Result<Self> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("run git ls-files")?;
        ensure!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
        let mut files = Vec::new();
        for path in String::from_utf8(listed.stdout)?.split('\0').filter(|path| !path.is_empty()) {
            // A file that is deleted but not committed yet is listed too; symbolic links show up under their own path.
            let Ok(text) = std::fs::read_to_string(root.join(path)) else { continue };
            files.push(SourceFile::new(path, text));
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        let mut tree = Self { files };
        tree.mark_test_modules();
        Ok(tree)
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// Marks files that another one includes by `#[cfg(test)] mod name;`.
    fn mark_test_modules(&mut self) {
        let modules: Vec<String> = self.files.iter().flat_map(test_modules).collect();
        for file in &mut self.files {
            let inside = |module: &String| {
                file.path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            };
            if modules.iter().any(inside) {
                file.in_test.fill(true);
            }
        }
    }
}

impl SourceFile {
    /// A file with this text.
    #[must_use]
    pub fn new(path: &str, text: String) -> Self {
        let code = if path.ends_with(".rs") { mask(&text) } else { String::new() };
        let in_test = if is_test_path(path) { vec![true; code.lines().count()] } else { test_lines(&code) };
        Self { path: path.to_owned(), text, code, in_test }
    }

    /// Whether it is Rust.
    #[must_use]
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The lines of code outside tests, numbered from 1.
    pub fn shipped_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let tested = self.in_test.iter().copied().chain(std::iter::repeat(false));
        self.code.lines().enumerate().zip(tested).filter(|(_, test)| !test).map(|((at, line), _)| (at + 1, line))
    }
}

/// Files that only tests run, by where they lie. A conformance suite is among them: adapters' tests call it.
fn is_test_path(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    ["/tests/", "/benches/", "/conformance/", "/fuzz/"].iter().any(|folder| path.contains(folder))
        || path.starts_with("tools/tidy/")
        || ["tests.rs", "conformance.rs"].contains(&name)
        || name.ends_with("_test.rs")
        || name.ends_with("_tests.rs")
}

/// Which lines belong to an item under `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<bool> {
    let lines: Vec<&str> = code.lines().collect();
    let mut marked = vec![false; lines.len()];
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| is_test_attribute(line)) {
        let end = item_end(&lines, at);
        marked[at..=end].fill(true);
    }
    marked
}

fn is_test_attribute(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(any(test") || line.starts_with("#[cfg(all(test")
}

/// The last line of the item that starts at `from`: where its braces close, or its `;` outside of any bracket.
pub(crate) fn item_end(lines: &[&str], from: usize) -> usize {
    let (mut braces, mut brackets) = (0_i32, 0_i32);
    for (at, line) in lines.iter().enumerate().skip(from) {
        for letter in line.chars() {
            match letter {
                '{' => braces += 1,
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                '}' => {
                    braces -= 1;
                    if braces == 0 && brackets == 0 {
                        return at;
                    }
                }
                ';' if braces == 0 && brackets == 0 => return at,
                _ => {}
            }
        }
    }
    lines.len().saturating_sub(1)
}

/// The paths, without extension, of modules that `file` declares under `#[cfg(test)]`.
fn test_modules(file: &SourceFile) -> Vec<String> {
    let stem = file.path.strip_suffix(".rs").unwrap_or(&file.path);
    let folder = match stem.rsplit_once('/') {
        Some((folder, "lib" | "main")) => folder,
        _ => stem,
    };
    let declared = |line: &str| {
        let rest = line.trim().strip_suffix(';')?;
        rest.rsplit_once("mod ").map(|(_, name)| format!("{folder}/{name}"))
    };
    file.code.lines().zip(&file.in_test).filter(|(_, test)| **test).filter_map(|(line, _)| declared(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_module_is_marked_to_its_closing_brace() {
        let file =
            SourceFile::new("a/src/x.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n".into());
        let shipped: Vec<usize> = file.shipped_lines().map(|(at, _)| at).collect();
        assert_eq!(shipped, [1, 6]);
    }

    #[test]
    fn a_test_module_in_another_file_is_marked_there() {
        let parent = SourceFile::new("a/src/lib.rs", "#[cfg(test)]\nmod laws;\n".into());
        assert_eq!(test_modules(&parent), ["a/src/laws"]);
        let parent = SourceFile::new("a/src/run.rs", "#[cfg(test)]\nmod laws;\n".into());
        assert_eq!(test_modules(&parent), ["a/src/run/laws"]);
    }
}
