//! What a reference resolves to, and what of it to lay out. Pure: bytes and types in, a plan
//! out; no file, no socket, no clock.

pub mod contents;
pub mod descriptor;
pub mod path;
pub mod plan;
pub mod tree;
