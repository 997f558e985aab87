//! What tests and the demo share: an OCI registry in this process that can be told to fail,
//! and builders of every artifact family of the wild.
//!
//! Nothing here knows a test framework: `examples/demo` includes this module by path.
//!
//! ```ignore
//! let registry = Registry::start(Options::default());
//! let digest = artifacts::skillimage(&registry, "acme/code-review", "1.0.0", &skills::code_review());
//! registry.fault(On::get("/blobs/").times(2), Fault::status(503));
//! // … pull from registry.host() …
//! assert_eq!(registry.count("GET", "/blobs/"), 3);
//! ```
// Every test binary, and the demo, uses its own part of this.
#![allow(dead_code, unused_imports)]
// Fixtures assert their own making; clippy's allow-*-in-tests covers `#[test]` functions only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Included as a private module by several crates: `pub` is what it offers to them.
#![allow(unreachable_pub, missing_docs, missing_debug_implementations)]

pub mod artifacts;
pub mod auth;
pub mod blobs;
mod content;
pub mod driver;
pub mod faults;
pub mod gate;
pub mod http;
pub mod kube_api;
mod kube_events;
pub mod kubelet;
mod listener;
pub mod log;
pub mod openapi;
pub mod random;
pub mod registry;
pub mod rights;
mod routes;
pub mod skills;
pub mod tls;
pub mod tree;

pub use auth::{Auth, Bearer, Realm, User};
pub use blobs::{Tar, gzip, zstd};
pub use content::Descriptor;
pub use faults::{Fault, On};
pub use gate::Gate;
pub use kubelet::Kubelet;
pub use log::Request;
pub use random::Random;
pub use registry::{Options, Registry};
pub use skills::Skill;
pub use tls::Tls;
pub use tree::listing;
