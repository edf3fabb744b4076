//! Which files a measurement is about: their names, sums and shapes, as recordings keep them.

use std::{fs::File, io::Read, path::Path, time::Duration};

use sha2::{Digest, Sha256};
use speckv::token::Token;

use crate::{
    backend::CacheType,
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    machine,
    report::{Reporter, Unit},
};

/// What became of a model's weights, and how keys and values are stored where it is not half
/// precision: both decide what the model says.
#[must_use]
pub fn weights_name(weights: &str, cache_type: CacheType) -> String {
    match cache_type {
        CacheType::F16 => weights.to_owned(),
        other => format!("{weights}, kv {other}"),
    }
}

/// A path's file name: the folder of a file is no fact about it.
#[must_use]
pub fn shown_name(name: &str) -> String {
    Path::new(name)
        .file_name()
        .map_or_else(|| name.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The command line of this process, the program under its plain name and absolute paths by their
/// last part: records are passed on, and need not name the folders of their author.
#[must_use]
pub fn command() -> Vec<String> {
    std::iter::once("speckv".to_owned())
        .chain(std::env::args_os().skip(1).map(|argument| told(&argument.to_string_lossy())))
        .collect()
}

/// An argument as a record shows it.
fn told(argument: &str) -> String {
    match argument.split_once('=') {
        Some((name, value)) if name.starts_with("--") => format!("{name}={}", told(value)),
        _ if Path::new(argument).is_absolute() => shown_name(argument),
        _ => argument.to_owned(),
    }
}

/// Where a measurement comes from, as its file says it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// Processor, cores, operating system.
    pub machine: String,
    /// Version of the program.
    pub version: String,
    /// The command line.
    pub command: Vec<String>,
}

impl Origin {
    /// This process on this machine.
    #[must_use]
    pub fn here() -> Self {
        Origin {
            machine: machine::describe(),
            version: env!("CARGO_PKG_VERSION").into(),
            command: command(),
        }
    }
}

/// SHA-256 of bytes in lower-case hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Twelve digits that change with a prompt's tokens.
#[must_use]
pub fn digest_of_tokens(tokens: &[Token]) -> String {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    digest(&bytes)[..12].to_owned()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 and size of a file; of a folder, of the files in it by name, each preceded by its name
/// and a zero byte.
///
/// # Errors
/// A file that cannot be read, or an interruption.
pub fn checksum(
    path: &Path,
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
) -> Outcome<(String, u64)> {
    let mut hasher = Sha256::new();
    let mut read = 0;
    if !path.is_dir() {
        feed(&mut hasher, path, &mut read, interrupt, reporter)?;
        return Ok((hexadecimal(&hasher.finalize()), read));
    }
    let io = |error| Failure::io("read", path, &error);
    let entries =
        std::fs::read_dir(path).map_err(io)?.collect::<Result<Vec<_>, _>>().map_err(io)?;
    let mut files: Vec<_> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    for file in files {
        hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update([0]);
        feed(&mut hasher, &file, &mut read, interrupt, reporter)?;
    }
    Ok((hexadecimal(&hasher.finalize()), read))
}

fn feed(
    hasher: &mut Sha256,
    path: &Path,
    sum: &mut u64,
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
) -> Outcome<()> {
    let io = |error| Failure::io("read", path, &error);
    let mut file = File::open(path).map_err(io)?;
    let total = file.metadata().map_err(io)?.len();
    let mut progress = reporter.progress("checksum", Unit::Bytes, Duration::from_secs(2));
    let (mut buffer, mut read) = (vec![0; 1 << 20], 0);
    loop {
        let count = file.read(&mut buffer).map_err(io)?;
        if count == 0 {
            *sum += read;
            return Ok(());
        }
        if interrupt.is_raised() {
            return Err(Failure::interrupted(
                "stopped before anything was recorded",
                "the same command begins again",
            ));
        }
        hasher.update(&buffer[..count]);
        read += count as u64;
        progress.at(read, total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Oracle: FIPS 180-2, appendix B.1.
    #[test]
    fn digests_are_sha_256_in_lower_case() {
        assert_eq!(
            digest(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let absolute = std::env::temp_dir().join("folder").display().to_string();
        assert_eq!(told(&absolute), "folder");
        assert_eq!(told(&format!("--trace={absolute}")), "--trace=folder");
        assert_eq!(["-n", "here/grid", "a=b"].map(told), ["-n", "here/grid", "a=b"]);
        assert_eq!(shown_name("some/where/model.gguf"), "model.gguf");
    }
}
