//! Generates tonic clients and server traits for the services of the Temporal API; the messages come from `api`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use prost::Message;

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let path =
        PathBuf::from(std::env::var("DEP_OUTLAST_API_DESCRIPTOR_PATH").context("`api` exports its descriptors")?);
    println!("cargo:rerun-if-changed={}", path.display());
    let mut files = prost_types::FileDescriptorSet::decode(&*std::fs::read(path)?)?;
    files.file.retain(|file| !file.service.is_empty());
    for file in &mut files.file {
        file.message_type.clear();
    }
    tonic_prost_build::configure()
        .build_server(true)
        .build_client(true)
        .generate_default_stubs(true)
        .extern_path(".temporal.api", "::api::temporal::api")
        .extern_path(".google.api", "::api::google::api")
        .include_file("all.rs")
        .compile_fds(files)?;
    Ok(())
}
