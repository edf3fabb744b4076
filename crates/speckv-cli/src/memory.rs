//! Whether a model fits in memory, found out before it is read.

use speckv_cpu::{
    checkpoint::Checkpoint,
    model::{Compression, packed_bytes},
};

use crate::{
    failure::{Failure, Outcome},
    units,
};

/// Refuses a model whose weights need more memory than the system has available. Where the system does not tell, everything passes.
///
/// # Errors
/// Weights that do not fit.
pub fn check(file: &Checkpoint, compression: Compression) -> Outcome<()> {
    let needed = packed_bytes(file, compression);
    match available() {
        Some(available) if needed > available => {
            let name = file.path().map_or_else(|| "the model".to_owned(), |path| path.display().to_string());
            Err(Failure::new(
                format!(
                    "the weights need {} of memory as {compression}, and {} are available",
                    units::bytes(needed),
                    units::bytes(available)
                ),
                "nf4 or q4_0 as --compression (for a draft: self:nf4, --draft-compression) need less, `--draft ngram` needs no weights",
            )
            .about(name))
        }
        _ => Ok(()),
    }
}

/// Bytes that processes can get without swapping, as Linux estimates them.
fn available() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_as_linux_writes_it() {
        assert_eq!(parse("MemTotal: 9 kB\nMemAvailable:   24 kB\n"), Some(24 * 1024));
        assert_eq!(parse("MemTotal: 9 kB\n"), None);
        assert_eq!(parse("MemAvailable: much\n"), None);
    }
}
