//! Finds functions and how many lines each takes, from its signature to its closing brace.

use crate::source::{SourceFile, item_end};

/// A function outside tests.
pub(crate) struct Function<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The line of its signature, from 1.
    pub(crate) line: usize,
    /// How many lines it takes.
    pub(crate) length: usize,
}

/// The functions of a file, without those of its tests.
pub(crate) fn functions(file: &SourceFile) -> Vec<Function<'_>> {
    let lines: Vec<&str> = file.code.lines().collect();
    file.shipped_lines()
        .filter_map(|(line, code)| {
            let name = declared_function(code)?;
            let end = item_end(&lines, line - 1);
            Some(Function { name, line, length: end + 2 - line })
        })
        .collect()
}

/// The name of the function that a line declares.
fn declared_function(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    loop {
        match words.next()? {
            "fn" => break,
            "pub" | "const" | "async" | "unsafe" | "extern" => {}
            word if word.starts_with("pub(") => {}
            _ => return None,
        }
    }
    let rest = words.next()?;
    Some(rest.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_measured_from_signature_to_brace() {
        let text = "trait T {\n    fn a(&self, x: [u8; 4]);\n    fn b(&self) {\n        let c = |x| { x };\n    }\n}\n\
                    pub(crate) async fn d<const N: usize>(\n    e: [u8; N],\n) -> u8 {\n    0\n}\n";
        let file = SourceFile::new("x/src/y.rs", text.into());
        let found: Vec<_> = functions(&file).iter().map(|f| (f.name.to_owned(), f.line, f.length)).collect();
        assert_eq!(found, [("a".to_owned(), 2, 1), ("b".to_owned(), 3, 3), ("d".to_owned(), 7, 5)]);
    }

    #[test]
    fn a_comment_declares_nothing() {
        let file = SourceFile::new("x/src/y.rs", "// fn a() {\nlet text = \"fn b() {\";\n".into());
        assert!(functions(&file).is_empty());
    }
}
