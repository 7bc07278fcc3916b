//! What kind of statement a CQL text is.

use crate::rule::Class;

/// The class of one statement. Statements on the system's own keyspaces are [`Class::Other`]: drivers live by them.
pub fn class_of(text: &str) -> Class {
    let words = words_of(text);
    let first = words.first().map(String::as_str);
    match first {
        Some("SELECT") if words.iter().any(|word| is_system(word)) => Class::Other,
        Some("SELECT") => Class::Read,
        Some("INSERT" | "UPDATE" | "DELETE" | "BEGIN") => {
            if words.iter().any(|word| word == "IF") {
                Class::Conditional
            } else {
                Class::Write
            }
        }
        _ => Class::Other,
    }
}

/// `FROM system.peers` and the like. A table of that name in a user's keyspace comes after another word.
fn is_system(word: &str) -> bool {
    word.split_once('.').is_some_and(|(keyspace, _)| {
        matches!(
            keyspace,
            "SYSTEM"
                | "SYSTEM_SCHEMA"
                | "SYSTEM_AUTH"
                | "SYSTEM_DISTRIBUTED"
                | "SYSTEM_TRACES"
                | "SYSTEM_VIEWS"
                | "SYSTEM_VIRTUAL_SCHEMA"
        )
    })
}

/// The words of a statement in capitals, without what stands in quotes or comments.
fn words_of(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' => {
                word.push(char.to_ascii_uppercase());
                continue;
            }
            // A doubled quote ends one piece and begins the next, which comes to the same.
            '\'' | '"' => {
                for inner in chars.by_ref() {
                    if inner == char {
                        break;
                    }
                }
            }
            '-' if chars.peek() == Some(&'-') => skip_line(&mut chars),
            '/' if chars.peek() == Some(&'/') => skip_line(&mut chars),
            '/' if chars.peek() == Some(&'*') => {
                let mut last = ' ';
                for inner in chars.by_ref() {
                    if last == '*' && inner == '/' {
                        break;
                    }
                    last = inner;
                }
            }
            _ => {}
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn skip_line(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    for inner in chars.by_ref() {
        if inner == '\n' {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_the_class_that_their_words_say() {
        let rows = [
            ("SELECT * FROM ks.t WHERE p = ?", Class::Read),
            ("select v from system_log where p = 1", Class::Read),
            ("SELECT * FROM system.peers", Class::Other),
            ("SELECT keyspace_name FROM system_schema.tables", Class::Other),
            ("INSERT INTO t (p) VALUES (?)", Class::Write),
            ("insert into t (p) values (?) if not exists", Class::Conditional),
            ("UPDATE t SET v = ? WHERE p = ? IF epoch=? AND last_seq=?", Class::Conditional),
            ("UPDATE t SET v = 1 WHERE p = 1\nIF\tEXISTS", Class::Conditional),
            ("UPDATE t SET v = 'what IF not' WHERE p = 1", Class::Write),
            ("UPDATE t SET v = 'it''s IF' WHERE p = 1", Class::Write),
            ("UPDATE t SET \"IF\" = 1 WHERE p = 1", Class::Write),
            ("UPDATE t SET v = 1 WHERE p = 1 -- IF\n", Class::Write),
            ("UPDATE t /* IF */ SET v = 1 WHERE p = 1", Class::Write),
            ("DELETE FROM t WHERE p = 1", Class::Write),
            ("DELETE FROM gifts WHERE p = 1", Class::Write),
            ("BEGIN UNLOGGED BATCH UPDATE t SET v = 1 WHERE p = 1 IF v = 0; APPLY BATCH", Class::Conditional),
            ("BEGIN BATCH DELETE FROM t WHERE p = 1; APPLY BATCH", Class::Write),
            ("CREATE TABLE IF NOT EXISTS t (p int PRIMARY KEY)", Class::Other),
            ("USE ks", Class::Other),
            ("", Class::Other),
        ];
        for (text, class) in rows {
            assert_eq!(class_of(text), class, "{text:?}");
        }
    }
}
