//! The words of a line: a verb, names, `key=value` pairs and flags.

use std::collections::BTreeMap;

use api::temporal::api::common::v1::{Payload, Payloads, RetryPolicy};
use prost_types::Duration;

/// A line or a part of one, read.
#[derive(Clone, Debug, Default)]
pub struct Words {
    pub verb: String,
    /// What follows the verb without `=`: names and flags.
    plain: Vec<String>,
    pairs: BTreeMap<String, String>,
}

impl Words {
    /// Reads words that are separated by spaces; within a value `_` stands for a space, `␡` for U+007F.
    pub fn read(text: &str) -> Self {
        let mut words = Self::default();
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => {
                    drop(words.pairs.insert(key.to_owned(), value.replace('_', " ").replace('␡', "\u{7f}")))
                }
                None if words.verb.is_empty() => word.clone_into(&mut words.verb),
                None => words.plain.push(word.to_owned()),
            }
        }
        words
    }

    /// The first name after the verb.
    pub fn name(&self) -> Result<&str, String> {
        self.plain.first().map(String::as_str).ok_or_else(|| format!("{} wants a name", self.verb))
    }

    pub fn flag(&self, flag: &str) -> bool {
        self.plain.iter().any(|word| word == flag)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str)
    }

    pub fn text(&self, key: &str) -> String {
        self.get(key).unwrap_or_default().to_owned()
    }

    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        let parsed = self.get(key).map(|text| text.parse().map_err(|_| format!("{key}={text} is no number")));
        parsed.transpose()
    }

    /// `1s`, `500ms`, `2m`, `3h`, `4d`; `-1s` too, for bad requests.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, String> {
        self.get(key).map(duration).transpose()
    }

    pub fn payloads(&self, key: &str) -> Option<Payloads> {
        self.get(key).map(payloads)
    }

    /// `name:value,other:value`.
    pub fn fields(&self, key: &str) -> Option<BTreeMap<String, Payload>> {
        let fields = self.get(key)?.split(',').map(|field| {
            let (name, value) = field.split_once(':').unwrap_or((field, "null"));
            (name.to_owned(), payload(value))
        });
        Some(fields.collect())
    }

    /// `retry=1s`, `retry=1s,coefficient:2,max:10s,attempts:3,final:Type`.
    pub fn retry(&self) -> Result<Option<RetryPolicy>, String> {
        let Some(text) = self.get("retry") else { return Ok(None) };
        let mut policy = RetryPolicy::default();
        for part in text.split(',') {
            match part.split_once(':') {
                None => policy.initial_interval = Some(duration(part)?),
                Some(("coefficient", value)) => {
                    policy.backoff_coefficient = value.parse().map_err(|_| format!("{value} is no coefficient"))?;
                }
                Some(("max", value)) => policy.maximum_interval = Some(duration(value)?),
                Some(("attempts", value)) => {
                    policy.maximum_attempts = value.parse().map_err(|_| format!("{value} is no number"))?;
                }
                Some(("final", value)) => policy.non_retryable_error_types.push(value.to_owned()),
                Some((other, _)) => return Err(format!("a retry policy has no {other}")),
            }
        }
        Ok(Some(policy))
    }
}

pub fn duration(text: &str) -> Result<Duration, String> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let unit_at = digits.find(|c: char| c.is_alphabetic()).ok_or_else(|| format!("{text} has no unit"))?;
    let number: i64 = digits[..unit_at].parse().map_err(|_| format!("{text} is no duration"))?;
    let millis = match &digits[unit_at..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => return Err(format!("{other} is no unit of time")),
    };
    let millis = sign * number * millis;
    Ok(Duration { seconds: millis / 1000, nanos: i32::try_from(millis % 1000).expect("less than 1000") * 1_000_000 })
}

pub fn payloads(text: &str) -> Payloads {
    Payloads { payloads: vec![payload(text)] }
}

pub fn payload(text: &str) -> Payload {
    let encoding = if text == "null" { "binary/null" } else { "json/plain" };
    // `100x` is a hundred bytes, for limits.
    let repeated = text.strip_suffix('x').and_then(|count| count.parse().ok()).map(|count| "x".repeat(count));
    let data = if text == "null" { String::new() } else { repeated.unwrap_or_else(|| text.to_owned()) };
    let metadata = [("encoding".to_owned(), encoding.as_bytes().to_vec().into())];
    Payload { metadata: metadata.into(), data: data.into(), ..Payload::default() }
}
