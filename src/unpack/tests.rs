//! Tests of the unpacker: fixtures by the ids of the formats survey (V valid, O odd, M malicious).

mod bombs;
mod disk;
mod fuzz;
mod malicious;
mod materialise;
mod streams;
mod support;
mod trees;
