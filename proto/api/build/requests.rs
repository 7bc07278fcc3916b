//! Adds to the generated requests what all that have it are asked for alike: the namespace that they name, and the task
//! token that they bring back.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use prost_types::{FileDescriptorProto, FileDescriptorSet};

/// Field, its Rust type, and the trait of those that have it, which has one method of the field's name.
const FIELDS: &[(&str, &str, &str)] =
    &[("namespace", "str", "InNamespace"), ("task_token", "bytes::Bytes", "HasTaskToken")];

/// Appends the implementations to the files that prost has just written. `files` still has the services.
pub(crate) fn add_to(out: &Path, files: &FileDescriptorSet) -> Result<()> {
    let services = files.file.iter().flat_map(|file| &file.service);
    let inputs: BTreeSet<&str> =
        services.flat_map(|service| &service.method).map(|method| method.input_type()).collect();
    for file in &files.file {
        let added = implementations(file, &inputs)?;
        if added.is_empty() {
            continue;
        }
        let path = out.join(format!("{}.rs", file.package()));
        let mut text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        text.push_str(&added);
        std::fs::write(&path, text)?;
    }
    Ok(())
}

fn implementations(file: &FileDescriptorProto, inputs: &BTreeSet<&str>) -> Result<String> {
    let mut added = String::new();
    for message in &file.message_type {
        if !inputs.contains(format!(".{}.{}", file.package(), message.name()).as_str()) {
            continue;
        }
        for (field, kind, named) in FIELDS {
            if message.field.iter().any(|of_message| of_message.name() == *field) {
                let name = message.name();
                writeln!(
                    added,
                    "impl crate::{named} for {name} {{ fn {field}(&self) -> &{kind} {{ &self.{field} }} }}"
                )?;
            }
        }
    }
    Ok(added)
}
