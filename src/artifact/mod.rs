//! What a reference resolves to, and what of it to lay out. Pure: bytes and types in, a plan
//! out; no file, no socket, no clock.
//!
//! In the order of a pull: [`document`] reads a manifest or an index, [`index`] picks a child,
//! [`classify`] turns a manifest into a [`plan`] (its data is in `media_types`), [`config`]
//! reads the config blob; and when the layers are unpacked into a [`tree`], [`skill`] finds the
//! skills in it and names them.

pub mod classify;
pub mod collection;
pub mod config;
pub mod contents;
pub mod descriptor;
pub mod document;
pub mod front_matter;
pub mod index;
pub mod lifecycle;
pub mod links;
mod locate;
pub mod media_types;
pub mod name;
pub mod path;
pub mod plan;
pub mod skill;
pub mod tree;
pub mod validation;
pub mod yaml;

#[cfg(test)]
mod testing;
