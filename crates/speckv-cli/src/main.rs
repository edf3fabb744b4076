//! The `speckv` command line.

fn main() -> std::process::ExitCode {
    #[cfg(feature = "gpu")]
    // SAFETY: `main` has just begun, and nothing before it starts a thread.
    unsafe {
        speckv_gpu::device::omit_display_search();
    }
    speckv_cli::main()
}
