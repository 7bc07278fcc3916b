//! Compiles the Temporal API's messages from the sources inside the `temporalio-protos` crate.
//! Writes two descriptor sets: `api.bin` keeps extension options (the HTTP routes), and is what reflection serves.

#[path = "build/held.rs"]
mod held;
#[path = "build/requests.rs"]
mod requests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto};

/// The entry files; everything else comes in by import.
const ROOTS: &[&str] = &[
    "temporal/api/workflowservice/v1/service.proto",
    "temporal/api/operatorservice/v1/service.proto",
    "temporal/api/errordetails/v1/message.proto",
    "temporal/api/testservice/v1/service.proto",
];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=Cargo.toml");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let sources = protos_folder()?;
    let includes: Vec<PathBuf> = ["api_upstream", "testsrv_upstream", "google", "."]
        .iter()
        .map(|folder| sources.join(folder))
        .filter(|folder| folder.is_dir())
        .collect();

    let mut compiler = protox::Compiler::new(&includes).context("open the proto folders")?;
    compiler.include_imports(true).include_source_info(false);
    for root in ROOTS {
        compiler.open_file(root).with_context(|| format!("compile {root}"))?;
    }
    let descriptors = out.join("api.bin");
    std::fs::write(&descriptors, compiler.encode_file_descriptor_set())?;
    println!("cargo:descriptor_path={}", descriptors.display());

    let described = prost_types::FileDescriptorSet::decode(&*std::fs::read(&descriptors)?)?;
    let mut files = described.clone();
    for file in &mut files.file {
        file.service.clear();
        file.message_type.iter_mut().for_each(forget_deprecation);
        file.enum_type.iter_mut().for_each(forget_deprecation_of_values);
    }
    prost_build::Config::new().bytes(["."]).btree_map(["."]).include_file("all.rs").compile_fds(files)?;
    held::add_to(&out)?;
    requests::add_to(&out, &described)
}

/// A server reads and writes deprecated fields for as long as clients do: no warnings about them.
fn forget_deprecation(message: &mut DescriptorProto) {
    if let Some(options) = &mut message.options {
        options.deprecated = None;
    }
    for field in &mut message.field {
        if let Some(options) = &mut field.options {
            options.deprecated = None;
        }
    }
    message.enum_type.iter_mut().for_each(forget_deprecation_of_values);
    message.nested_type.iter_mut().for_each(forget_deprecation);
}

fn forget_deprecation_of_values(values: &mut EnumDescriptorProto) {
    for value in &mut values.value {
        if let Some(options) = &mut value.options {
            options.deprecated = None;
        }
    }
}

/// The folder `protos/` of the locked `temporalio-protos` package.
fn protos_folder() -> Result<PathBuf> {
    let manifest = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let metadata =
        cargo_metadata::MetadataCommand::new().manifest_path(manifest).exec().context("run cargo metadata")?;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "temporalio-protos")
        .context("temporalio-protos is not in the dependency graph")?;
    let folder = package.manifest_path.parent().context("a manifest lies in a folder")?.join("protos");
    Ok(folder.into_std_path_buf())
}
