//! Durations as people write them: `10s`, `250ms`, `1m30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The units, longest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// No key has a use for more, and every sum of two fits.
const LONGEST: Duration = Duration::from_secs(1000 * 365 * 86_400);

/// What is allowed, for messages.
pub(crate) const ALLOWED: &str = "a duration such as 250ms, 10s, 1m30s or 2d is allowed";

/// A duration in whole milliseconds, at most 1000 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// As services take it.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(Duration::from_millis(u64::try_from(duration.min(LONGEST).as_millis()).unwrap_or(u64::MAX)))
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text;
        let mut total: u64 = 0;
        // Units follow in this order, each at most once.
        let mut units = UNITS.as_slice();
        while !rest.is_empty() {
            let digits = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or(ALLOWED)?;
            let count: u64 = rest[..digits].parse().map_err(|_| ALLOWED)?;
            rest = &rest[digits..];
            let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
            let at = units.iter().position(|(unit, _)| *unit == &rest[..letters]).ok_or(ALLOWED)?;
            total = count.checked_mul(units[at].1).and_then(|ms| total.checked_add(ms)).ok_or(ALLOWED)?;
            units = &units[at + 1..];
            rest = &rest[letters..];
        }
        let duration = Duration::from_millis(total);
        if text.is_empty() || duration > LONGEST { Err(ALLOWED) } else { Ok(Self(duration)) }
    }
}

impl TryFrom<String> for Span {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in UNITS {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "outlast-duration",
            "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms, written) in [
            ("10s", 10_000, "10s"),
            ("250ms", 250, "250ms"),
            ("1m30s", 90_000, "1m30s"),
            ("90s", 90_000, "1m30s"),
            ("1h0m1ms", 3_600_001, "1h1ms"),
            ("72h", 259_200_000, "3d"),
            ("0s", 0, "0s"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.duration(), Duration::from_millis(ms), "{text}");
            assert_eq!(span.to_string(), written);
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in
            ["", "10", "s", "10 s", "1.5s", "-1s", "10s5m", "1s1s", "10sec", "1s ", "99999999999999999999s", "366000d"]
        {
            assert_eq!(text.parse::<Span>(), Err(ALLOWED), "{text:?}");
        }
    }
}
