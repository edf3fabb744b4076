//! Processor, cores and system of this machine.

use std::num::NonZeroUsize;

/// Cores that this process may use.
#[must_use]
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Threads for models where none are asked for: see [`speckv_cpu::cores::default_threads`].
#[must_use]
pub fn threads() -> NonZeroUsize {
    speckv_cpu::cores::default_threads()
}

/// The processor's name, else the system's and the architecture's.
#[must_use]
pub fn processor_or_target() -> String {
    processor().unwrap_or_else(|| format!("{} {}", std::env::consts::OS, std::env::consts::ARCH))
}

/// Processor, cores, operating system and architecture, in one line.
#[must_use]
pub fn describe() -> String {
    let processor = processor().unwrap_or_else(|| "unknown processor".into());
    let cores = cores();
    format!("{processor}, {cores} cores, {} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The processor's name where the system lists it in a file.
#[must_use]
pub fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
