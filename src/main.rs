//! The `skillmount` command.

use std::process::ExitCode;

/// A pull's buffers come and go: musl would map and unmap each, and the kernel clear its pages anew.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    skillmount::cli::run(std::env::args_os())
}
