//! Dependencies between the crates of this workspace point one way.

use tidy::{Graph, arrows, repository};

#[test]
fn dependencies_point_one_way() {
    let found = arrows::findings(&repository()).expect("cargo metadata and cargo tree run");
    assert!(found.is_empty(), "{}", found.iter().map(|finding| format!("\n  {finding}")).collect::<String>());
}

#[test]
fn every_layer_belongs_to_a_crate() {
    let graph = Graph::read(&repository()).expect("cargo metadata runs");
    let gone: Vec<_> =
        arrows::LAYERS.iter().filter(|(name, _)| !graph.crates.iter().any(|of| of.name == *name)).collect();
    assert!(gone.is_empty(), "layers of crates that do not exist: {gone:?}");
}
