//! The `skillmount` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    skillmount::cli::run(std::env::args_os())
}
