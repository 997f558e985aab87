//! The Kubernetes API: pods and Secrets, read by name, and events, written. Nothing else is asked
//! of the API server, and nothing at all without `--secret-access` or `--events`.
//!
//! The requests are four, so they are made with the HTTP client that is here for registries and
//! not with a client library: each pod's requests may carry another token, an answer is read up
//! to a bound, no answer leads elsewhere, and of an object only the used fields are decoded.

mod api;
mod error;
mod event;
mod kubeconfig;
mod name;
mod object;
mod server;

pub use api::{Api, ApiConfig, CALL_TIMEOUT, Caller, SecretAccess, UnknownAccess};
pub use error::{CallError, SetupError};
pub use event::{Event, EventName, EventSource, PodReference};
pub use name::{Name, NotAName};
pub use object::{Pod, Secret};
pub use server::ApiServer;
