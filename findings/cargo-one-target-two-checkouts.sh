#!/usr/bin/env bash
# Software: cargo 1.95.0 (stable, 2026-03), rustc of the same toolchain; itoa 1.0.18 as the pinned dependency.
#
# Two checkouts of one workspace, in different folders, that share a target folder (CARGO_TARGET_DIR) share the artifacts
# of the workspace's own crates too: they have the same hash, since a path package is hashed by its path within the
# workspace. Cargo decides by the sources' times alone whether one is fresh. So after the newer checkout (such as a `git worktree`
# of an older revision) was built, building the older one compiles nothing of it, and its binary is the other revision's.
#
# Output seen:
#   second: library of the first checkout
#   second, its sources touched: library of the second checkout
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

checkout() { # NAME
    mkdir -p "$1/library/src" "$1/program/src"
    printf '[workspace]\nmembers = ["library", "program"]\nresolver = "2"\n' >"$1/Cargo.toml"
    printf '[package]\nname = "library"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nitoa = "=1.0.18"\n' >"$1/library/Cargo.toml"
    printf '[package]\nname = "program"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nlibrary = { path = "../library" }\n' >"$1/program/Cargo.toml"
    printf 'pub const TEXT: &str = "library of the %s checkout";\n' "$1" >"$1/library/src/lib.rs"
    printf 'fn main() { println!("{}", library::TEXT) }\n' >"$1/program/src/main.rs"
}

export CARGO_TARGET_DIR=$folder/target
checkout second
sleep 2 # the second checkout's sources are older than what is built of the first
checkout first
(cd first && cargo run --quiet >/dev/null)
output="second: $(cd second && cargo run --quiet)"
touch second/library/src/lib.rs second/program/src/main.rs
output+=$'\n'"second, its sources touched: $(cd second && cargo run --quiet)"
echo "$output"
[ "$output" = $'second: library of the first checkout\nsecond, its sources touched: library of the second checkout' ]
