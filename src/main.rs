//! The `skillmount` command.

fn main() {}
