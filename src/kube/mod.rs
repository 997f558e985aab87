//! The Kubernetes API: pods and Secrets, read by name. Nothing else is asked of the API server,
//! and nothing at all unless `--secret-access` says how.
//!
//! The requests are two, so they are made with the HTTP client that is here for registries and
//! not with a client library: each pod's requests may carry another token, an answer is read up
//! to a bound, no answer leads elsewhere, and of an object only the used fields are decoded.

mod api;
mod error;
mod kubeconfig;
mod name;
mod object;
mod server;

pub use api::{Api, ApiConfig, CALL_TIMEOUT, Caller, SecretAccess, UnknownAccess};
pub use error::{CallError, SetupError};
pub use name::{Name, NotAName};
pub use object::{Pod, Secret};
pub use server::ApiServer;
