//! Compiles the protocol that nodes of one cluster speak with each other. Its messages carry the API's own, which come
//! from `api`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prost::Message;
use protox::file::{ChainFileResolver, DescriptorSetFileResolver, GoogleFileResolver, IncludeFileResolver};

/// One file for each service.
const ROOTS: &[&str] = &["calls.proto", "membership.proto", "admin.proto"];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("outlast");
    println!("cargo:rerun-if-changed={}", folder.display());
    let api = PathBuf::from(std::env::var("DEP_OUTLAST_API_DESCRIPTOR_PATH").context("`api` exports its descriptors")?);
    println!("cargo:rerun-if-changed={}", api.display());
    let api = protox::prost_reflect::DescriptorPool::decode(&*std::fs::read(api)?)?;

    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(folder));
    resolver.add(DescriptorSetFileResolver::new(api.file_descriptor_protos().cloned().collect::<FileSet>().0));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    // The messages of others are only referred to: `extern_path` says where they are.
    compiler.include_imports(true).include_source_info(true);
    for root in ROOTS {
        compiler.open_file(root).with_context(|| format!("compile {root}"))?;
    }
    let files = prost_types::FileDescriptorSet::decode(&*compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .build_server(true)
        .build_client(true)
        .bytes(".")
        .btree_map(".")
        .extern_path(".temporal.api", "::api::temporal::api")
        .include_file("all.rs")
        .compile_fds(files)?;
    Ok(())
}

struct FileSet(prost_types::FileDescriptorSet);

impl FromIterator<prost_types::FileDescriptorProto> for FileSet {
    fn from_iter<I: IntoIterator<Item = prost_types::FileDescriptorProto>>(files: I) -> Self {
        Self(prost_types::FileDescriptorSet { file: files.into_iter().collect() })
    }
}
