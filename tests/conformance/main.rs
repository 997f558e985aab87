//! Foreign tools against the real binary: csi-sanity, Debian's docker-registry, skopeo, sidecars;
//! and the image, started by runc.
//!
//! Run by `sh tests/conformance/run.sh`, which gets the tools. Under a plain `cargo test` each
//! test says that it is skipped; in the conformance tier a missing tool is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests assert")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod bundle;
mod docker_registry;
mod image;
#[path = "../support/namespace.rs"]
mod namespace;
mod process;
mod registries;
mod sanity;
mod shim;
mod sidecars;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/yaml.rs"]
mod yaml;

/// Whether this is the conformance tier; says so if it is not.
fn selected(test: &str) -> bool {
    let selected = std::env::var("SKILLMOUNT_CONFORMANCE").is_ok_and(|value| value == "1");
    if !selected {
        println!("skipped: {test} belongs to the conformance tier (tests/conformance/run.sh)");
    }
    selected
}
