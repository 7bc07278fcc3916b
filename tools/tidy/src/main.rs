//! Prints every finding by crate, or records the present sizes in the ratchet.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use tidy::{arrows, ratchet};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        None => print_findings(),
        Some("record") => ratchet::write(&tidy::repository(), &tidy::sizes()?),
        Some(other) => bail!("unknown argument {other:?}: expected none, or `record`"),
    }
}

fn print_findings() -> Result<()> {
    let mut by_folder: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for finding in arrows::findings(&tidy::repository())?.into_iter().chain(tidy::findings()?) {
        let folder = finding.path.split('/').take(2).collect::<Vec<_>>().join("/");
        by_folder.entry(folder).or_default().push(finding.to_string());
    }
    for (folder, lines) in &by_folder {
        println!("{folder} ({})", lines.len());
        lines.iter().for_each(|line| println!("  {line}"));
    }
    for size in tidy::sizes()?.iter().filter(|size| size.is_long()) {
        println!("long: {size}");
    }
    Ok(())
}
