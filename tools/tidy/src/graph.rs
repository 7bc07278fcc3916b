//! The crates of the workspace and what they depend on, as `cargo metadata` reports it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand, Node, PackageId};

/// The crates of the workspace.
pub struct Graph {
    /// By name.
    pub crates: Vec<Crate>,
}

/// A crate of the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its folder, relative to the repository.
    pub folder: String,
    /// The workspace's crates that it is built from.
    pub uses: BTreeSet<String>,
    /// The workspace's crates that only its tests use.
    pub tests_use: BTreeSet<String>,
    /// Every package that is linked into it, however far away; filled in by [`Crate::find_links`]. What runs only at build
    /// time (build scripts, procedural macros) is not among them.
    pub links: BTreeSet<String>,
}

impl Graph {
    /// Asks cargo, for the platform that servers run on.
    ///
    /// # Errors
    /// When cargo fails.
    pub fn read(root: &Path) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .other_options(["--filter-platform".to_owned(), "x86_64-unknown-linux-gnu".to_owned()])
            .exec()
            .context("run cargo metadata")?;
        let resolve = metadata.resolve.as_ref().context("cargo metadata resolves dependencies")?;
        let nodes: BTreeMap<&PackageId, &Node> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
        let members: BTreeSet<&PackageId> = metadata.workspace_members.iter().collect();
        let name = |id: &PackageId| metadata[id].name.to_string();

        let mut crates = Vec::new();
        for id in &metadata.workspace_members {
            let own = |kind: &[DependencyKind]| -> BTreeSet<String> {
                depends_on(nodes[id], kind).filter(|to| members.contains(to)).map(name).collect()
            };
            let folder = metadata[id].manifest_path.parent().context("a manifest lies in a folder")?;
            let folder = folder.strip_prefix(&metadata.workspace_root).unwrap_or(folder);
            crates.push(Crate {
                name: name(id),
                folder: folder.to_string(),
                uses: own(&[DependencyKind::Normal, DependencyKind::Build]),
                tests_use: own(&[DependencyKind::Development]),
                links: BTreeSet::new(),
            });
        }
        crates.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { crates })
    }
}

impl Crate {
    /// Asks cargo what is linked into this crate when it is built by itself. `cargo metadata` cannot show it: it lists
    /// optional dependencies that no feature turns on.
    ///
    /// # Errors
    /// When cargo fails.
    pub fn find_links(&mut self, root: &Path) -> Result<()> {
        let tree = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
            .args(["tree", "--package", &self.name, "--edges", "normal,no-proc-macro", "--prefix", "none"])
            .current_dir(root)
            .output()
            .context("run cargo tree")?;
        ensure!(tree.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout)?;
        let names = tree.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        self.links = names.map(str::to_owned).collect();
        Ok(())
    }
}

/// The packages that `node` depends on in one of these ways.
fn depends_on<'a>(node: &'a Node, kinds: &'a [DependencyKind]) -> impl Iterator<Item = &'a PackageId> {
    node.deps
        .iter()
        .filter(|dependency| dependency.dep_kinds.iter().any(|info| kinds.contains(&info.kind)))
        .map(|dependency| &dependency.pkg)
}
