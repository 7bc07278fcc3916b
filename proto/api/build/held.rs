//! Adds `crate::Held` to the generated messages that state can hold: what services say to each other is never kept.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use syn::{Fields, Item};

/// Files of messages that only requests and responses have.
const NEVER_HELD: &[&str] =
    &["temporal.api.workflowservice", "temporal.api.operatorservice", "temporal.api.testservice"];

/// Appends the implementations to the files that prost has just written.
pub(crate) fn add_to(out: &Path) -> Result<()> {
    for entry in std::fs::read_dir(out)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_held = name.starts_with("temporal.api.") && name.ends_with(".rs");
        if !is_held || NEVER_HELD.iter().any(|package| name.starts_with(package)) {
            continue;
        }
        let mut text = std::fs::read_to_string(&path)?;
        let file = syn::parse_file(&text).with_context(|| format!("parse {name}"))?;
        let mut added = String::new();
        items(&file.items, "", &mut added)?;
        text.push_str(&added);
        std::fs::write(&path, text)?;
    }
    Ok(())
}

/// All messages and oneofs of a module and of those within it.
fn items(items_of: &[Item], module: &str, added: &mut String) -> Result<()> {
    for item in items_of {
        match item {
            Item::Struct(message) => message_held(&format!("{module}{}", message.ident), &message.fields, added)?,
            // Those of a enumeration without values have no `Oneof`.
            Item::Enum(oneof) if oneof.variants.iter().any(|variant| !variant.fields.is_empty()) => {
                let variants: Vec<_> = oneof.variants.iter().map(|variant| variant.ident.to_string()).collect();
                oneof_held(&format!("{module}{}", oneof.ident), &variants, added)?;
            }
            Item::Mod(inner) => {
                let inner_items = inner.content.as_ref().map(|(_, items)| items.as_slice()).unwrap_or_default();
                items(inner_items, &format!("{module}{}::", inner.ident), added)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn message_held(name: &str, fields: &Fields, added: &mut String) -> Result<()> {
    let fields: Vec<_> = fields.iter().filter_map(|field| Some(field.ident.as_ref()?.to_string())).collect();
    writeln!(added, "impl crate::Held for {name} {{")?;
    for (method, result) in [("heap_bytes", "usize"), ("elements", "usize")] {
        writeln!(added, "fn {method}(&self) -> {result} {{ 0")?;
        for field in &fields {
            writeln!(added, "+ crate::Held::{method}(&self.{field})")?;
        }
        writeln!(added, "}}")?;
    }
    writeln!(added, "fn own_bytes(&mut self) {{")?;
    for field in &fields {
        writeln!(added, "crate::Held::own_bytes(&mut self.{field});")?;
    }
    writeln!(added, "}} }}")?;
    Ok(())
}

fn oneof_held(name: &str, variants: &[String], added: &mut String) -> Result<()> {
    writeln!(added, "impl crate::Held for {name} {{")?;
    for (method, receiver, result) in
        [("heap_bytes", "&self", "usize"), ("elements", "&self", "usize"), ("own_bytes", "&mut self", "()")]
    {
        writeln!(added, "fn {method}({receiver}) -> {result} {{ match self {{")?;
        for variant in variants {
            writeln!(added, "Self::{variant}(value) => crate::Held::{method}(value),")?;
        }
        writeln!(added, "}} }}")?;
    }
    writeln!(added, "}}")?;
    Ok(())
}
