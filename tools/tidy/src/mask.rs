//! Blanks comments and the insides of literals, so that a search sees code only. Lines and columns stay where they are.

/// The text with comments, strings and character literals blanked.
pub(crate) fn mask(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let end = match letters[at] {
            '/' if letters.get(at + 1) == Some(&'/') => line_end(&letters, at),
            '/' if letters.get(at + 1) == Some(&'*') => block_comment_end(&letters, at),
            '"' => string_end(&letters, at + 1),
            'r' if starts_word(&letters, at) => raw_string_end(&letters, at + 1).unwrap_or(at),
            'b' | 'c' if starts_word(&letters, at) && letters.get(at + 1) == Some(&'r') => {
                raw_string_end(&letters, at + 2).unwrap_or(at)
            }
            '\'' => character_end(&letters, at),
            _ => at,
        };
        if end == at {
            masked.push(letters[at]);
            at += 1;
            continue;
        }
        let blank = |letter: &char| if *letter == '\n' { '\n' } else { ' ' };
        masked.extend(letters[at..end].iter().map(blank));
        at = end;
    }
    masked
}

/// Whether no identifier runs into position `at` from the left.
fn starts_word(letters: &[char], at: usize) -> bool {
    at == 0 || !(letters[at - 1].is_alphanumeric() || letters[at - 1] == '_')
}

fn line_end(letters: &[char], from: usize) -> usize {
    (from..letters.len()).find(|&at| letters[at] == '\n').unwrap_or(letters.len())
}

fn block_comment_end(letters: &[char], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while at + 1 < letters.len() {
        match (letters[at], letters[at + 1]) {
            ('/', '*') => {
                depth += 1;
                at += 2;
            }
            ('*', '/') => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    letters.len()
}

/// The end of a string whose inside begins at `from`.
fn string_end(letters: &[char], from: usize) -> usize {
    let mut at = from;
    while at < letters.len() {
        match letters[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    letters.len()
}

/// The end of a raw string whose `#` or quote is at `from`; `None` if there is none.
fn raw_string_end(letters: &[char], from: usize) -> Option<usize> {
    let hashes = letters[from..].iter().take_while(|letter| **letter == '#').count();
    if letters.get(from + hashes) != Some(&'"') {
        return None;
    }
    let inside = from + hashes + 1;
    let closes = |at: usize| {
        letters[at] == '"' && letters[at + 1..].iter().take(hashes).filter(|letter| **letter == '#').count() == hashes
    };
    Some((inside..letters.len()).find(|&at| closes(at)).map_or(letters.len(), |at| at + 1 + hashes))
}

/// The end of a character literal at `from`, or `from` where the quote begins a lifetime.
fn character_end(letters: &[char], from: usize) -> usize {
    match (letters.get(from + 1), letters.get(from + 2)) {
        (Some('\\'), _) => {
            let closing = (from + 3..letters.len()).find(|&at| letters[at] == '\'');
            closing.map_or(letters.len(), |at| at + 1)
        }
        (Some(_), Some('\'')) => from + 3,
        _ => from,
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn comments_and_literals_are_blank_and_code_is_not() {
        let rows = [
            ("a // {b}\nc", "a       \nc"),
            ("a /* { /* } */ */ b", "a                 b"),
            ("f(\"{\\\"}\")", "f(      )"),
            ("f(r#\"\"{\"#)", "f(       )"),
            ("f(br\"{\")", "f(     )"),
            ("g('{', '\\'', 'x')", "g(   ,     ,    )"),
            ("fn h<'a>(x: &'a str) {", "fn h<'a>(x: &'a str) {"),
            ("for r in var { }", "for r in var { }"),
        ];
        for (text, expected) in rows {
            assert_eq!(mask(text), expected, "{text}");
        }
    }
}
