//! The CSI shell: Identity and Node over a unix socket. A handler parses, calls the domain and
//! maps the error; it decides nothing.

mod count;
pub mod identity;
pub mod node;
pub mod redact;
pub mod request;
pub mod server;
pub mod status;

/// What `proto/csi.proto` defines, generated at build time.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("csi.v1");
}
