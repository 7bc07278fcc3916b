//! Conversations with one workflow ID, as text: what callers, workers and the clock say, and beneath each line what came
//! of it. One file per rule, under `scripts/`.
//!
//! In a script, a line at the margin is said to the workflow (see `speech.rs`), and the indented lines after it are what
//! happened: the answer, then the new events. `#` begins a comment. After a change of behaviour,
//! `UPDATE=1 cargo test -p execution --test conversations` writes the scripts anew; read the difference.

mod commands;
mod render;
mod show;
mod speech;
mod words;
mod world;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use world::World;

#[test]
fn conversations_go_as_written() {
    let scripts = scripts();
    assert!(scripts.len() > 20, "only {} scripts were found", scripts.len());
    let update = std::env::var_os("UPDATE").is_some();
    let mut differing = Vec::new();
    for path in scripts {
        let written = fs::read_to_string(&path).expect("a script can be read");
        let happened = play(&written, &path);
        if written == happened {
            continue;
        }
        if update {
            fs::write(&path, happened).expect("a script can be written");
        } else {
            differing.push(format!("{}\n{}", path.display(), first_difference(&written, &happened)));
        }
    }
    assert!(differing.is_empty(), "not as written (UPDATE=1 writes them anew):\n{}", differing.join("\n"));
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations/scripts");
    let entries = fs::read_dir(folder).expect("the scripts are there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    paths.sort();
    paths
}

/// The script, with what really happens beneath each line. A line that says nothing sensible panics with its number.
fn play(script: &str, path: &Path) -> String {
    let mut world = World::new();
    let mut text = String::new();
    for (number, line) in script.lines().enumerate() {
        if line.starts_with(' ') {
            continue;
        }
        writeln!(text, "{line}").expect("strings can be written to");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let heard = world.hear(line);
        let heard = heard.unwrap_or_else(|error| panic!("{}:{}: {error}", path.display(), number + 1));
        for line in heard {
            writeln!(text, "  {line}").expect("strings can be written to");
        }
    }
    text
}

fn first_difference(written: &str, happened: &str) -> String {
    let mut said = "";
    for (number, (was, is)) in written.lines().zip(happened.lines()).enumerate() {
        if !is.starts_with(' ') {
            said = is;
        }
        if was != is {
            return format!("  line {}, after {said:?}\n  - {was}\n  + {is}", number + 1);
        }
    }
    format!(
        "  one ends earlier, after {said:?}: {} lines written, {} happened",
        written.lines().count(),
        happened.lines().count()
    )
}
