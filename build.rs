//! Generates the gRPC types from `proto/`, with a compiler in Rust: no `protoc` is needed.

use std::error::Error;

/// Messages whose fields carry secrets or service-account tokens get no derived `Debug`:
/// prost would print them. `src/csi/redact.rs` writes theirs.
const NO_DEBUG: [&str; 2] = [".csi.v1.NodePublishVolumeRequest", ".csi.v1.NodeStageVolumeRequest"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/csi.proto", "proto/pluginregistration.proto"], ["proto"])?;
    tonic_prost_build::configure().build_client(true).skip_debug(NO_DEBUG).compile_fds(files)?;
    Ok(())
}
