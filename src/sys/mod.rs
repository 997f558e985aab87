//! What no safe wrapper has, and the only unsafe code of the crate: system calls for mounts, and the
//! process's allocator.
#![allow(unsafe_code)]

pub mod memory;
pub(crate) mod mount;
