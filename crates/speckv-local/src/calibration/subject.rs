//! What measured costs belong to: machine, program, files, threads.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{backend::LocalModel, machine, pair::Pair};

/// Costs measured for one subject say nothing about another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The processor, as it calls itself.
    pub processor: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// Instruction set of the target's kernels, or its device.
    pub instruction_set: String,
    /// The draft's.
    pub draft_instruction_set: Option<String>,
    /// Threads that compute.
    pub threads: usize,
    /// This program: other kernels have other costs.
    pub program: Mark,
    /// The target's file.
    pub target: Mark,
    /// The draft's file.
    pub draft: Option<Mark>,
    /// What became of the weights of target and draft.
    pub compression: Vec<String>,
    /// Tokens that the draft's output head covers.
    pub draft_head: Option<usize>,
    /// Longest context of a sequence; where it is short, long contexts were not measured.
    pub context: usize,
    /// How keys and values are stored.
    pub cache_type: String,
}

/// What tells one file from another without reading all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {
    /// Size in bytes.
    pub bytes: u64,
    /// Seconds from 1970 to the last change.
    pub modified: u64,
    /// SHA-256 of the first and the last 64 KiB, the first 8 bytes of it as hexadecimal digits.
    pub ends: String,
}

const END: u64 = 64 << 10;
/// No context beyond this is measured.
const LONGEST: usize = 2048;

impl Subject {
    /// The subject of a loaded pair. A file that cannot be read again has an empty mark.
    #[must_use]
    pub fn of(pair: &Pair<impl LocalModel>) -> Self {
        let target = pair.engine.target();
        let mark = |path: &Path| Mark::of(path).unwrap_or_default();
        Subject {
            processor: machine::processor_or_target(),
            cores: machine::cores().get(),
            instruction_set: target.processor(),
            draft_instruction_set: pair.draft.as_ref().map(|draft| draft.processor()),
            threads: target.threads(),
            program: Mark::of_program(),
            target: mark(&pair.target_path),
            draft: pair.draft_path.as_deref().map(mark),
            compression: [Some(target), pair.draft.as_ref()]
                .into_iter()
                .flatten()
                .map(|model| model.compression().to_string())
                .collect(),
            draft_head: pair.draft.as_ref().map(|draft| draft.head_size()),
            context: target.context_length().min(LONGEST),
            cache_type: target.cache_type().name().to_owned(),
        }
    }

    /// Name of the subject's file: the first 8 bytes of the SHA-256 of its JSON.
    #[must_use]
    pub fn key(&self) -> String {
        hex(&Sha256::digest(serde_json::to_vec(self).unwrap_or_default()))
    }
}

impl Mark {
    /// The mark of this program; empty where it cannot be read.
    #[must_use]
    pub fn of_program() -> Self {
        std::env::current_exe().and_then(|path| Mark::of(&path)).unwrap_or_default()
    }

    /// The mark of a file; of a folder, of the blueprint and all weights directly in it.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut files = vec![path.to_owned()];
        if path.is_dir() {
            let inside = std::fs::read_dir(path)?
                .map(|entry| Ok(entry?.path()))
                .collect::<io::Result<Vec<_>>>()?;
            let counts = |path: &PathBuf| {
                path.extension().is_some_and(|ending| ending == "safetensors" || ending == "json")
            };
            files = inside.into_iter().filter(counts).collect();
            files.sort();
        }
        let mut mark = Mark::default();
        let mut digest = Sha256::new();
        for file in files {
            let mut file = File::open(file)?;
            let meta = file.metadata()?;
            let mut end = Vec::new();
            Read::by_ref(&mut file).take(END).read_to_end(&mut end)?;
            file.seek(SeekFrom::Start(meta.len().saturating_sub(END)))?;
            file.take(END).read_to_end(&mut end)?;
            digest.update(&end);
            mark.bytes += meta.len();
            let modified =
                meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            mark.modified = mark.modified.max(modified.map_or(0, |time| time.as_secs()));
        }
        Ok(Mark { ends: hex(&digest.finalize()), ..mark })
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            processor: "p".into(),
            cores: 2,
            instruction_set: "avx2".into(),
            draft_instruction_set: None,
            threads: 2,
            program: Mark::default(),
            target: Mark { bytes: 5, modified: 6, ends: "ab".into() },
            draft: None,
            compression: vec!["asis".into()],
            draft_head: None,
            context: 1024,
            cache_type: "f16".into(),
        }
    }

    #[test]
    fn whatever_changes_costs_changes_the_key() {
        let key = subject().key();
        assert_eq!((key.len(), subject().key()), (16, key.clone()));
        for other in [
            Subject { threads: 1, ..subject() },
            Subject { processor: "q".into(), ..subject() },
            Subject { instruction_set: "a GPU".into(), ..subject() },
            Subject { draft_instruction_set: Some("a GPU".into()), ..subject() },
            Subject { program: Mark { bytes: 1, ..Mark::default() }, ..subject() },
            Subject { target: Mark { modified: 7, ..subject().target }, ..subject() },
            Subject { draft: Some(Mark::default()), ..subject() },
            Subject { compression: vec!["nf4".into()], ..subject() },
            Subject { cache_type: "q8_0".into(), ..subject() },
        ] {
            assert_ne!(other.key(), key, "{other:?}");
        }
    }

    #[test]
    fn the_mark_of_a_folder_sees_every_part_of_the_model() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).expect("a file");
            Mark::of(folder.path()).expect("readable").ends
        };
        let marks = [
            mark("config.json", b"{}"),
            mark("model-00001-of-00002.safetensors", b"a"),
            mark("model-00002-of-00002.safetensors", b"b"),
            mark("model-00002-of-00002.safetensors", b"c"),
        ];
        assert!((1..marks.len()).all(|i| marks[i] != marks[i - 1]), "{marks:?}");
        assert_eq!(mark("notes.txt", b"not a part"), marks[3]);
    }

    #[test]
    fn a_mark_sees_both_ends_of_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model");
        let mark = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("a file");
            Mark::of(&path).expect("readable").ends
        };
        let mut bytes = vec![0; 300_000];
        let zeros = mark(&bytes);
        bytes[10] = 1;
        let head = mark(&bytes);
        bytes[299_999] = 1;
        assert!(zeros != head && head != mark(&bytes) && mark(b"") != mark(b"x"));
    }
}
