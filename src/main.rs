//! The `skillmount` command.

use std::process::ExitCode;

use skillmount::sys::memory::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    skillmount::cli::run(std::env::args_os())
}
