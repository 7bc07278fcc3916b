//! The commands about the file of one process: they read it beside the process that has it open, or without any.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde::Serialize;
use storage_sqlite::Verified;

use super::Output;
use crate::say;

#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// Copy a file, whether or not a server uses it. The copy is verified, and a server can be started on it.
    Backup {
        /// The file, as given to `server start-dev`.
        #[arg(long, short = 'f')]
        db_filename: PathBuf,
        /// The copy: a new file.
        #[arg(long)]
        to: PathBuf,
    },
}

/// What there is in a file, for people and machines.
#[derive(Serialize)]
struct Shown<'a> {
    file: &'a Path,
    logs: u64,
    groups: u64,
    rows: u64,
    tombstones: u64,
    registry_entries: u64,
    pages: u64,
    free_pages: u64,
    problems: &'a [String],
    more_problems: u64,
}

pub(super) fn verify(file: &Path, output: Output) -> Result<()> {
    let verified = storage_sqlite::verify(file, server::check_row)?;
    show(file, &verified, output)?;
    match verified.problems.len() as u64 + verified.more_problems {
        0 => Ok(()),
        problems => bail!("{} is damaged: {problems} problems", file.display()),
    }
}

pub(super) fn run(command: &StoreCommand, output: Output) -> Result<()> {
    match command {
        StoreCommand::Backup { db_filename, to } => {
            let verified = storage_sqlite::backup(db_filename, to)?;
            show(to, &verified, output)
        }
    }
}

fn show(file: &Path, verified: &Verified, output: Output) -> Result<()> {
    let Verified { logs, groups, rows, tombstones, entries, pages, free_pages, problems, more_problems } = verified;
    let text = match output {
        Output::Table => {
            let head = format!(
                "{}: {logs} logs with {groups} groups, {rows} rows, {tombstones} tombstones, {entries} registry entries; {pages} pages, {free_pages} of them free",
                file.display()
            );
            let more = (*more_problems > 0).then(|| format!("and {more_problems} more"));
            let end = problems.is_empty().then(|| "everything matches its checksums".to_owned());
            [head].into_iter().chain(problems.iter().cloned()).chain(more).chain(end).collect::<Vec<_>>().join("\n")
        }
        Output::Json => {
            let shown = Shown {
                file,
                logs: *logs,
                groups: *groups,
                rows: *rows,
                tombstones: *tombstones,
                registry_entries: *entries,
                pages: *pages,
                free_pages: *free_pages,
                problems,
                more_problems: *more_problems,
            };
            serde_json::to_string_pretty(&shown).context("write the answer as JSON")?
        }
    };
    say(std::io::stdout(), &text);
    Ok(())
}
