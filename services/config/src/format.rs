//! The formats of text that the schema names, and what each of them allows.

use crate::{ByteSize, HostPort, ListenAddress, Span, address, byte_size, span};

/// What is allowed for a name that must not be empty.
const NAME_ALLOWED: &str = "1 to 63 letters, digits, `.`, `_` or `-` that begin with a letter or digit are allowed";
const NAME_OR_EMPTY_ALLOWED: &str = "nothing, or 1 to 63 letters, digits, `.`, `_` or `-` is allowed";
const KEYSPACE_ALLOWED: &str = "a lower-case letter, then up to 47 lower-case letters, digits or `_` is allowed";
const NAMESPACE_ALLOWED: &str = "1 to 1000 bytes without a control character are allowed";

/// Holds text against a format of the schema; the error says what is allowed. `None` for an unknown format.
pub(crate) fn check(format: &str, text: &str) -> Option<Result<(), &'static str>> {
    Some(match format {
        "outlast-duration" => text.parse::<Span>().map(drop),
        "outlast-byte-size" => text.parse::<ByteSize>().map(drop),
        "outlast-listen-address" => text.parse::<ListenAddress>().map(drop),
        "outlast-host-port" => text.parse::<HostPort>().map(drop),
        "outlast-name" => is_name(text).then_some(()).ok_or(NAME_ALLOWED),
        "outlast-name-or-empty" => (text.is_empty() || is_name(text)).then_some(()).ok_or(NAME_OR_EMPTY_ALLOWED),
        "outlast-keyspace" => is_keyspace(text).then_some(()).ok_or(KEYSPACE_ALLOWED),
        "outlast-namespace" => is_namespace(text).then_some(()).ok_or(NAMESPACE_ALLOWED),
        _ => return None,
    })
}

/// What a format allows, for a value of another type.
pub(crate) fn allowed(format: &str) -> Option<&'static str> {
    Some(match format {
        "outlast-duration" => span::ALLOWED,
        "outlast-byte-size" => byte_size::ALLOWED,
        "outlast-listen-address" => address::LISTEN_ALLOWED,
        "outlast-host-port" => address::HOST_PORT_ALLOWED,
        "outlast-name" => NAME_ALLOWED,
        "outlast-name-or-empty" => NAME_OR_EMPTY_ALLOWED,
        "outlast-keyspace" => KEYSPACE_ALLOWED,
        "outlast-namespace" => NAMESPACE_ALLOWED,
        _ => return None,
    })
}

fn is_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=63).contains(&text.len())
        && text.bytes().all(inside)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

fn is_keyspace(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() <= 48 && text.bytes().all(inside) && text.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
}

fn is_namespace(text: &str) -> bool {
    (1..=1000).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        for good in ["a", "history-0", "membership_2.zone", "0"] {
            assert_eq!(check("outlast-name", good), Some(Ok(())), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "a b", "ä", &"a".repeat(64)] {
            assert_eq!(check("outlast-name", bad), Some(Err(NAME_ALLOWED)), "{bad}");
        }
        for (bad, format) in [("Outlast", "outlast-keyspace"), ("1a", "outlast-keyspace"), ("", "outlast-namespace")] {
            assert!(check(format, bad).is_some_and(|checked| checked.is_err()), "{bad}");
        }
        assert_eq!(check("uint32", "1"), None);
    }
}
