//! `outlast config`.

use anyhow::Result;
use clap::Subcommand;

use crate::configuration::Source;
use crate::say;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Say OK and the values in force, defaults included and secrets not shown; or everything that is wrong, and end
    /// with 1.
    Check(Source),
    /// Print the JSON schema of configuration files.
    Schema,
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::Check(source) => {
            let config = source.read()?;
            say(std::io::stdout(), "OK");
            say(std::io::stdout(), config.effective().trim_end());
        }
        Command::Schema => say(std::io::stdout(), config::published_schema().trim_end()),
    }
    Ok(())
}
