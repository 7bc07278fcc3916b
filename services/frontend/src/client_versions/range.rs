//! Ranges of versions as clients write them: `>=1.0.0 <2.0.0 || 3.x`. Conditions side by side must all hold; of the
//! alternatives that `||` divides, one. A version with an `x` in place of its last numbers stands for all that begin so.
//! A pre-release is just a version, ahead of its release.

use std::cmp::Ordering;

use semver::Version;

use crate::validation::fields::beginning;

/// Alternatives, each of conditions.
#[derive(Debug)]
pub(super) struct Range(Vec<Vec<Condition>>);

#[derive(Debug)]
struct Condition {
    comparison: Comparison,
    from: Version,
    /// The first version beyond those that the condition names; `None` if it names just one.
    until: Option<Version>,
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Within,
    Without,
    Below,
    BelowOrWithin,
    Above,
    AboveOrWithin,
}

impl Range {
    /// Reads a range, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut alternatives = vec![Vec::new()];
        let mut comparison = String::new();
        for word in text.split_ascii_whitespace() {
            if word == "||" && comparison.is_empty() {
                alternatives.push(Vec::new());
                continue;
            }
            let begins = word.find(|character| !"<>=!".contains(character)).unwrap_or(word.len());
            comparison.push_str(&word[..begins]);
            // A comparison may stand apart from its version.
            if begins < word.len() {
                let condition = Condition::parse(&comparison, &word[begins..]).ok_or_else(|| refusal(text))?;
                alternatives.last_mut().ok_or_else(|| refusal(text))?.push(condition);
                comparison.clear();
            }
        }
        if !comparison.is_empty() || alternatives.iter().any(Vec::is_empty) {
            return Err(refusal(text));
        }
        Ok(Self(alternatives))
    }

    /// Whether `version` is in it.
    pub(super) fn contains(&self, version: &Version) -> bool {
        self.0.iter().any(|conditions| conditions.iter().all(|condition| condition.holds(version)))
    }
}

fn refusal(text: &str) -> String {
    let text = beginning(text);
    format!("is {text:?}, conditions such as \">=1.0.0 <2.0.0\" are allowed, with <, <=, >, >=, =, != and ||")
}

impl Condition {
    fn parse(comparison: &str, version: &str) -> Option<Self> {
        let comparison = match comparison {
            "" | "=" | "==" => Comparison::Within,
            "!" | "!=" => Comparison::Without,
            "<" => Comparison::Below,
            "<=" => Comparison::BelowOrWithin,
            ">" => Comparison::Above,
            ">=" => Comparison::AboveOrWithin,
            _ => return None,
        };
        let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        let Some(numbers) = version.strip_suffix(".x").filter(|numbers| numbers.bytes().all(is_number)) else {
            return Some(Self { comparison, from: Version::parse(version).ok()?, until: None });
        };
        let (from, until) = match numbers.split_once('.') {
            None => {
                let from = Version::parse(&format!("{numbers}.0.0")).ok()?;
                let until = Version::new(from.major.checked_add(1)?, 0, 0);
                (from, until)
            }
            Some(_) => {
                let from = Version::parse(&format!("{numbers}.0")).ok()?;
                let until = Version::new(from.major, from.minor.checked_add(1)?, 0);
                (from, until)
            }
        };
        Some(Self { comparison, from, until: Some(until) })
    }

    fn holds(&self, version: &Version) -> bool {
        let below = version.cmp_precedence(&self.from) == Ordering::Less;
        let above = match &self.until {
            None => version.cmp_precedence(&self.from) == Ordering::Greater,
            Some(until) => version.cmp_precedence(until) != Ordering::Less,
        };
        match self.comparison {
            Comparison::Within => !below && !above,
            Comparison::Without => below || above,
            Comparison::Below => below,
            Comparison::BelowOrWithin => !above,
            Comparison::Above => above,
            Comparison::AboveOrWithin => !below,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(range: &str, version: &str) -> Option<bool> {
        Some(Range::parse(range).ok()?.contains(&Version::parse(version).unwrap()))
    }

    /// What the public server 1.32.0 said when it was asked, range by range.
    #[test]
    fn ranges_mean_what_the_public_server_takes_them_for() {
        let holding = [
            ">=1.0.0 <2.0.0",
            "<=1.32.0",
            "=1.32.0",
            "==1.32.0",
            "1.32.0",
            "1.32.x",
            "1.x",
            ">=1.x",
            "<=1.x",
            "=1.32.x",
            ">=1.32.x",
            ">1.31.x",
            ">=1.0.0 <1.5.0 || >=1.30.0 <2.0.0",
            ">= 1.0.0",
            ">=  1.0.0 <  2.0.0",
            "> =1.0.0",
            ">=1.0.0-alpha",
            ">=1.32.0-rc1",
            "<1.32.1-rc1",
            ">=1.0.0+build",
            ">=1.0.0 <2.0.0 ",
            " >=1.0.0",
            "1.32.x <2.0.0",
            ">=1.0.0-a.x",
        ];
        for range in holding {
            assert_eq!(holds(range, "1.32.0"), Some(true), "{range}");
        }
        let failing = [
            "<1.0.0",
            ">=2.0.0",
            ">=1.0.0 <1.32.0",
            ">1.32.0",
            "!=1.32.0",
            "!1.32.0",
            "<1.x",
            ">1.x",
            "!=1.x",
            "!1.x",
            "<1.32.x",
            ">1.32.x",
            ">=3.0.0 || <1.0.0",
            "<1.32.0-rc1",
            ">=1.0.0 <2.0.0 !1.32.0",
            "1.32.0 1.31.0",
        ];
        for range in failing {
            assert_eq!(holds(range, "1.32.0"), Some(false), "{range}");
        }
        let unreadable = [
            "1.32",
            "1.*",
            "x",
            "*",
            "x.x.x",
            "1.X",
            ">=1.0.0||<1.0.0",
            "||",
            ">=1.0.0 ||",
            "|| >=1.0.0",
            ">=1.0.0 && <2.0.0",
            ">=1.0.0, <2.0.0",
            "^1.0.0",
            "~1.32.0",
            "~>1.0",
            ">=v1.0.0",
            "nonsense",
            " ",
            ">=1.0.0 nonsense",
            ">=1.0.0<2.0.0",
            ">=1.0",
            "1",
            ">=01.0.0",
            "=>1.0.0",
            "=<2.0.0",
            "<>1.0.0",
            "!",
            "<",
            ">=",
            ">=-1.0.0",
            ">=1.0.0.0",
            "1.0.0.x",
            "1.x.0",
            ">=99999999999999999999.0.0",
            "!!1.0.0",
            "===1.32.0",
            "1.32.0x",
            "1.xx",
            ">=1.0.0-",
            ">=1.0.0-a..b",
            ">=1.0.0+",
            ">=1..0",
            ">=1.0.0-01",
            "1.x-y",
            "18446744073709551615.x",
            "1.18446744073709551615.x",
            "<x",
            ">=2.0.0 || junk",
        ];
        for range in unreadable {
            assert_eq!(holds(range, "1.32.0"), None, "{range}");
        }
    }

    #[test]
    fn what_the_public_server_skips_is_refused() {
        for range in ["1.x.x", "x.1.0", "1.0.0 - 2.0.0", ">=1.0.0 | <2.0.0", "x <2.0.0", ">=1.0.0 || || <2.0.0"] {
            assert_eq!(holds(range, "1.32.0"), None, "{range}");
        }
    }

    #[test]
    fn a_refusal_shows_the_beginning_of_what_was_sent() {
        let text = Range::parse(&"^1.0.0 ".repeat(1000)).unwrap_err();
        assert!(text.starts_with("is \"^1.0.0 ^1.0.0 ") && text.len() < 250, "{text}");
    }
}
