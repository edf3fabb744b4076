//! Whether a model fits in memory, found out before it is read.

use speckv_cpu::{
    checkpoint::Checkpoint,
    model::{Compression, packed_bytes},
};

use crate::{
    failure::{Failure, Outcome},
    units,
};

/// What needs memory: a model, what its matrices become, and what it is called in messages.
pub struct Claim<'a> {
    /// The model.
    pub file: &'a Checkpoint,
    /// What its matrices become.
    pub compression: Compression,
    /// "weights", or what else they are.
    pub what: &'static str,
}

/// Refuses models whose weights together need more memory than the system has available. Where the system does not tell, everything passes.
///
/// # Errors
/// Weights that do not fit.
pub fn check(claims: &[Claim<'_>]) -> Outcome<()> {
    let needs: Vec<u64> = claims.iter().map(|claim| packed_bytes(claim.file, claim.compression)).collect();
    let Some(available) = available().filter(|&available| !fit(&needs, available)) else { return Ok(()) };
    let needed: Vec<String> = claims
        .iter()
        .zip(&needs)
        .map(|(claim, &bytes)| format!("{} {} as {}", claim.what, units::bytes(bytes), claim.compression))
        .collect();
    let failure = Failure::new(
        format!("memory needed: {}; available: {}", needed.join(", "), units::bytes(available)),
        "nf4 or q4_0 as --compression (for a draft: self:nf4, --draft-compression) need less, `--draft ngram` needs no weights",
    );
    Err(match claims.first().and_then(|claim| claim.file.path()) {
        Some(path) => failure.about(path.display()),
        None => failure,
    })
}

/// Whether all fit side by side.
fn fit(needs: &[u64], available: u64) -> bool {
    needs.iter().try_fold(0, |sum: u64, &bytes| sum.checked_add(bytes)).is_some_and(|sum| sum <= available)
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
    fn models_fit_together_or_not_at_all() {
        assert!(fit(&[], 0) && fit(&[60, 40], 100) && fit(&[100], 100));
        assert!(!fit(&[60, 41], 100) && !fit(&[101], 100) && !fit(&[u64::MAX, 1], u64::MAX));
    }

    #[test]
    fn available_memory_is_read_as_linux_writes_it() {
        assert_eq!(parse("MemTotal: 9 kB\nMemAvailable:   24 kB\n"), Some(24 * 1024));
        assert_eq!(parse("MemTotal: 9 kB\n"), None);
        assert_eq!(parse("MemAvailable: much\n"), None);
    }
}
