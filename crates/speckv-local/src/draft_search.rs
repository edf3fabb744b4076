//! Finds a draft for a target among the models that are on this machine already.

use std::{
    fs,
    path::{Path, PathBuf},
};

use speckv_formats::{checkpoint::Checkpoint, tokenizer::Tokenizer};

use crate::{
    model_source::ModelSource,
    store::State,
    text::{ModelText, tokenizer},
};

/// A draft has at most this share of the target's bytes: a larger one costs more than it saves.
const MOST_SHARE: f64 = 0.5;
/// Files of a folder that are looked at; a folder with more is an archive.
const MOST_FILES: usize = 64;

/// A model on this machine that can draft for the target.
#[derive(Debug, Clone)]
pub struct FoundDraft {
    /// Its catalogue name, else its file's name.
    pub name: String,
    /// Its file or folder.
    pub path: PathBuf,
    /// The opened file.
    pub file: Checkpoint,
}

/// The smallest model with the target's vocabulary and at most half of its bytes, out of the store,
/// the target's own folder and the caches of other programs. Files that cannot be opened or run are
/// ignored.
#[must_use]
pub fn find(
    target: &Checkpoint,
    target_path: &Path,
    text: &ModelText,
    source: &ModelSource,
) -> Option<FoundDraft> {
    let entries = source.catalogue.entries();
    let installed = source.store.iter().flat_map(|store| {
        let ready = entries.iter().filter(|entry| store.state(entry) == State::Ready);
        ready.map(|entry| (entry.name.clone(), store.path(entry)))
    });
    let cached = source.caches.models().into_iter().map(|model| (model.name, model.path));
    let mut candidates: Vec<(u64, String, PathBuf)> = installed
        .chain(neighbours(target_path))
        .chain(cached)
        .filter(|(_, path)| !same_file(path, target_path))
        .filter_map(|(name, path)| Some((bytes(&path)?, name, path)))
        .filter(|&(bytes, ..)| bytes as f64 <= MOST_SHARE * target.file_size() as f64)
        .collect();
    candidates.sort();
    // A header with a vocabulary takes some time to read: no more are looked at than a folder has.
    candidates.truncate(MOST_FILES);
    candidates.into_iter().find_map(|(_, name, path)| {
        let file = Checkpoint::open(&path).ok()?;
        drafts_for(text.tokenizer(), &file).then_some(FoundDraft { name, path, file })
    })
}

/// Whether a model has the vocabulary and this program can run it.
fn drafts_for(target: &Tokenizer, file: &Checkpoint) -> bool {
    file.config().is_ok()
        && tokenizer(file).is_ok_and(|draft| target.first_difference(&draft).is_none())
}

/// The GGUF files and model folders beside a target, by name.
fn neighbours(target: &Path) -> Vec<(String, PathBuf)> {
    let folder = match target.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Vec::new(),
    };
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_model = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
            || path.join("config.json").is_file()
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(is_model)
        .take(MOST_FILES)
        .collect();
    paths.sort();
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.into_iter().map(|path| (name(&path), path)).collect()
}

/// Bytes of a file, or of the weights in a folder.
fn bytes(path: &Path) -> Option<u64> {
    let meta = fs::metadata(path).ok()?;
    if meta.is_file() {
        return Some(meta.len());
    }
    let weights = |path: &PathBuf| path.extension().is_some_and(|end| end == "safetensors");
    let files = fs::read_dir(path).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    Some(files.filter(weights).filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum())
        .filter(|&bytes| bytes > 0)
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use speckv_formats::tiny::Tiny;

    use super::*;
    use crate::{catalogue::Catalogue, download::Options, found_models::Caches, store::Store};

    /// A folder with a target of eight layers.
    struct Desk {
        folder: tempfile::TempDir,
    }

    impl Desk {
        fn new() -> Self {
            let desk = Desk { folder: tempfile::tempdir().expect("a folder") };
            desk.put("target.gguf", &Tiny { layers: 8, ..Tiny::default() });
            desk
        }

        fn put(&self, name: &str, tiny: &Tiny) {
            let bytes = tiny.to_bytes().expect("a tiny model");
            fs::write(self.folder.path().join(name), bytes).expect("a file");
        }

        fn found(&self) -> Option<String> {
            let path = self.folder.path().join("target.gguf");
            let file = Checkpoint::open(&path).expect("a model");
            let text = ModelText::of(&file).expect("a vocabulary");
            let source = ModelSource {
                catalogue: Catalogue::builtin(),
                store: Some(Store::new(self.folder.path().join("store"))),
                options: Options::default(),
                caches: Caches {
                    llama_cpp: Some(self.folder.path().join("llama")),
                    ..Caches::default()
                },
            };
            find(&file, &path, &text, &source).map(|draft| draft.name)
        }
    }

    #[test]
    fn a_smaller_model_of_the_same_vocabulary_in_the_folder_drafts() {
        let desk = Desk::new();
        assert_eq!(desk.found(), None, "the target does not draft for itself");
        desk.put("as-large.gguf", &Tiny { layers: 8, ..Tiny::default() });
        assert_eq!(desk.found(), None, "a draft as large as the target saves nothing");
        desk.put("small.gguf", &Tiny { layers: 1, ..Tiny::default() });
        desk.put("medium.gguf", &Tiny { layers: 2, ..Tiny::default() });
        assert_eq!(desk.found().as_deref(), Some("small.gguf"));
    }

    #[test]
    fn a_model_in_another_programs_cache_drafts() {
        let desk = Desk::new();
        fs::create_dir(desk.folder.path().join("llama")).expect("a folder");
        desk.put("llama/other.gguf", &Tiny { layers: 1, vocab_size: 300, ..Tiny::default() });
        assert_eq!(desk.found().as_deref(), Some("other.gguf"), "padding makes no other words");
        desk.put("llama/small.gguf", &Tiny { layers: 1, ..Tiny::default() });
        assert_eq!(desk.found().as_deref(), Some("small.gguf"));
    }

    #[test]
    fn files_that_are_no_models_are_ignored() {
        let desk = Desk::new();
        fs::write(desk.folder.path().join("a.gguf"), b"not a model").expect("a file");
        fs::write(desk.folder.path().join("b.gguf"), b"").expect("a file");
        assert_eq!(desk.found(), None);
    }
}
