//! Skillmount: a CSI node driver that mounts agent skills from OCI registries into pods,
//! read-only. `docs/architecture.md` has the map; arrows between modules go down this list.

pub mod artifact;
pub mod cli;
pub mod connections;
pub mod credentials;
pub mod csi;
mod duration;
pub mod events;
pub mod kube;
pub mod layout;
pub mod mount;
pub mod observability;
pub mod pull;
pub mod reference;
pub mod registration;
pub mod registry;
mod stamp;
pub mod store;
pub mod sys;
pub mod unpack;
pub mod volume;
mod web;
