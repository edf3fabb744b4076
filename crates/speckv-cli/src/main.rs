//! The `speckv` command line.

fn main() -> std::process::ExitCode {
    speckv_cli::main()
}
