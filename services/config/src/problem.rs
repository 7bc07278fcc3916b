//! One thing that is wrong with a configuration.

use std::fmt;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the file, in this line; 0 when the line is not known.
    File {
        /// Counted from 1.
        line: u64,
    },
    /// In an environment variable or a flag of this name.
    Override(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key it is about, as in `store.cassandra.keyspace`; empty for the whole file.
    pub path: String,
    /// Where that stands, unless it stands nowhere.
    pub origin: Option<Origin>,
    /// What is wrong and what is allowed. Never contains a secret.
    pub text: String,
}

impl Problem {
    pub(crate) fn at(path: &str, origin: &Origin, text: String) -> Self {
        Self { path: path.to_owned(), origin: Some(origin.clone()), text }
    }

    pub(crate) fn missing(path: &str, text: String) -> Self {
        Self { path: path.to_owned(), origin: None, text }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(Origin::File { line: 0 }) | None => {}
            Some(Origin::File { line }) => write!(f, "line {line}: ")?,
            Some(Origin::Override(name)) => write!(f, "{name}: ")?,
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for Problem {}
