//! The configuration file that a command was given.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use config::{Config, Overrides, Problem};

/// Where the configuration is.
#[derive(Args)]
pub(crate) struct Source {
    /// The configuration file (YAML; docs/configuration.md). Variables that begin with OUTLAST__ take the place of its keys.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What the process does, in place of node.roles: frontend, history, matching or membership; may be given again.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
}

impl Source {
    /// The checked configuration, or everything that is wrong with it.
    pub(crate) fn read(&self) -> Result<Config> {
        let overrides = Overrides::from_environment(std::env::vars_os()).with_roles(&self.roles);
        let read = Config::read(&self.config, &overrides).and_then(|config| {
            // Which filters there are is known to telemetry only.
            let level = telemetry::check_level(&config.log.level);
            let problem = |error| Problem { path: "log.level".to_owned(), origin: None, text: format!("{error:#}") };
            level.map(|()| config).map_err(|error| vec![problem(error)])
        });
        read.map_err(|problems| anyhow!(self.explain(&problems)))
    }

    fn explain(&self, problems: &[Problem]) -> String {
        let mut text = match problems.len() {
            1 => format!("{} has a problem:", self.config.display()),
            count => format!("{} has {count} problems:", self.config.display()),
        };
        for problem in problems {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {problem}");
        }
        text
    }
}
