//! What each fuzz target does with its bytes. `tests/fuzz_seeds.rs` includes this file, so that
//! the seeds run through the same code where there is no nightly compiler.
//!
//! A target panics if something that must hold does not. What is refused is fine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, unreachable_pub, missing_docs)]

#[path = "layers.rs"]
mod layers;
#[path = "texts.rs"]
mod texts;

pub use layers::{Packing, frame, tar, unpack};
pub use texts::{collection, config, docker_config, document, front_matter, mountinfo, reference};
