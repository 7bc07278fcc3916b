//! Log lines on standard error.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" | "pretty" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("log format is {other:?}, text and json are allowed")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Sends log lines to standard error. `level` is a level (`info`, `never`) or a filter (`info,frontend=debug`).
/// Fails when the filter is invalid or logging was set up before.
pub fn init_logging(level: &str, format: LogFormat) -> Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| anyhow!("logging was set up before: {error}"))
}

/// Whether [`init_logging`] would take this level or filter; the error says what is allowed.
pub fn check_level(level: &str) -> Result<()> {
    filter(level).map(drop)
}

fn filter(level: &str) -> Result<EnvFilter> {
    let directives = match level {
        "never" => "off",
        "fatal" => "error",
        other => other,
    };
    // A word alone would name a module and let everything of it through; it is more likely a level misspelt.
    if let Some(word) = directives.split(',').map(str::trim).find(|part| !is_level_or_pair(part)) {
        return Err(anyhow!(
            "log level is {word:?}, such as debug, info, warn, error or never is allowed, or a filter as in history=debug"
        ));
    }
    // Raft logs at `info` what interests its developers.
    let quieter = if directives.contains("openraft") { String::new() } else { ",openraft=warn".to_owned() };
    let directives = if directives == "off" { directives.to_owned() } else { format!("{directives}{quieter}") };
    EnvFilter::try_new(directives)
        .with_context(|| format!("log level is {level:?}, such as debug, info, warn, error or never is allowed"))
}

fn is_level_or_pair(part: &str) -> bool {
    part.contains('=') || part.contains('[') || part.parse::<tracing_subscriber::filter::LevelFilter>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_people_know_are_understood() {
        for level in ["debug", "info", "warn", "error", "fatal", "never", "info,frontend=debug"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["info,=x=y=", "inof", "warn,histroy"] {
            assert!(filter(level).is_err(), "{level:?}");
        }
    }

    #[test]
    fn formats_are_written_as_they_are_read() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("xml".parse::<LogFormat>(), Err("log format is \"xml\", text and json are allowed".to_owned()));
    }
}
