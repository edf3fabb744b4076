//! What this machine is, in a line.

/// Processor, cores, operating system and architecture.
#[must_use]
pub fn describe() -> String {
    let cores = crate::settings::cores();
    let processor = processor().unwrap_or_else(|| "unknown processor".into());
    format!("{processor}, {cores} cores, {} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The processor's name where the system tells it in a file.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
