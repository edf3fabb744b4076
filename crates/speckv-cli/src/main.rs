//! The `speckv` command line.
fn main() {}
