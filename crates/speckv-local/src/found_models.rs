//! Models that other programs have left on this machine: in the caches of the Hugging Face Hub, LM
//! Studio, llama.cpp and Ollama.

#![expect(clippy::disallowed_methods, reason = "the environment says where caches are")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use speckv_formats::{checkpoint::Checkpoint, gguf::part_of_name, weights::Layout};

use crate::{failure::chain, hub_cache::HubCache, store::cache_folder};

/// Most folders that are looked into in one cache.
const MOST_FOLDERS: usize = 4096;
/// How deep folders are looked into.
const DEPTH: usize = 8;

/// A program whose cache a model lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Programs for the Hugging Face Hub, this one among them.
    Hub,
    /// LM Studio.
    LmStudio,
    /// llama.cpp.
    LlamaCpp,
    /// Ollama.
    Ollama,
}

impl Owner {
    /// The program's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Owner::Hub => "Hugging Face",
            Owner::LmStudio => "LM Studio",
            Owner::LlamaCpp => "llama.cpp",
            Owner::Ollama => "Ollama",
        }
    }
}

/// A model in one of the caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundModel {
    /// Whose cache it lies in.
    pub owner: Owner,
    /// What that program calls it.
    pub name: String,
    /// Its file, the first of its parts, or its folder.
    pub path: PathBuf,
    /// Bytes of its weights.
    pub size: u64,
}

/// Where the caches are.
#[derive(Debug, Clone, Default)]
pub struct Caches {
    /// The Hub's.
    pub hub: Option<PathBuf>,
    /// LM Studio's, of now and of earlier versions.
    pub lm_studio: Vec<PathBuf>,
    /// llama.cpp's.
    pub llama_cpp: Option<PathBuf>,
    /// Ollama's.
    pub ollama: Option<PathBuf>,
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Caches {
    /// Where the environment says that they are, else where these programs put them.
    #[must_use]
    pub fn from_environment() -> Self {
        let home = std::env::home_dir();
        let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
        Caches {
            hub: HubCache::from_environment().map(|cache| cache.folder().to_owned()),
            lm_studio: [".lmstudio/models", ".cache/lm-studio/models"]
                .into_iter()
                .filter_map(in_home)
                .collect(),
            llama_cpp: variable("LLAMA_CACHE")
                .or_else(|| cache_folder().map(|cache| cache.join("llama.cpp"))),
            ollama: variable("OLLAMA_MODELS").or_else(|| in_home(".ollama/models")),
        }
    }

    /// Models in all of them, by program and name.
    #[must_use]
    pub fn models(&self) -> Vec<FoundModel> {
        let mut found = Vec::new();
        if let Some(folder) = &self.hub {
            for (repo, snapshot) in HubCache::new(folder.clone()).repositories() {
                if snapshot.join("config.json").is_file() && weights(&snapshot) > 0 {
                    let (path, size) = (snapshot.clone(), weights(&snapshot));
                    found.push(FoundModel { owner: Owner::Hub, name: repo.clone(), path, size });
                }
                let named = |name: &str| format!("{repo}/{name}");
                found.extend(files(Owner::Hub, &snapshot, named));
            }
        }
        for folder in &self.lm_studio {
            found.extend(files(Owner::LmStudio, folder, str::to_owned));
        }
        if let Some(folder) = &self.llama_cpp {
            found.extend(files(Owner::LlamaCpp, folder, str::to_owned));
        }
        if let Some(folder) = &self.ollama {
            found.extend(ollama(folder));
        }
        found.sort_by(|a, b| (a.owner, &a.name).cmp(&(b.owner, &b.name)));
        found
    }
}

/// Bytes of the safetensors files of a folder.
fn weights(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let weights = paths.filter(|path| path.extension().is_some_and(|end| end == "safetensors"));
    weights.map(|path| fs::metadata(path).map_or(0, |facts| facts.len())).sum()
}

/// The GGUF files below a folder; of a model in parts the first stands for all.
fn files(owner: Owner, root: &Path, named: impl Fn(&str) -> String) -> Vec<FoundModel> {
    let mut found: Vec<FoundModel> = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    let mut seen = 0;
    while let Some((folder, depth)) = folders.pop() {
        seen += 1;
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let Ok(facts) = fs::metadata(&path) else { continue };
            if facts.is_dir() {
                if depth < DEPTH && seen + folders.len() < MOST_FOLDERS {
                    folders.push((path, depth + 1));
                }
                continue;
            }
            let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let lower = file.to_ascii_lowercase();
            if !lower.ends_with(".gguf") || lower.contains("mmproj") {
                continue;
            }
            match part_of_name(file) {
                Some((number, _)) if number > 0 => {
                    let stem = &file[..file.len() - "-00001-of-00001.gguf".len()];
                    let of_same = |model: &&mut FoundModel| {
                        let first = model.path.file_name().and_then(|name| name.to_str());
                        model.path.parent() == path.parent()
                            && first.is_some_and(|name| name.starts_with(stem))
                    };
                    if let Some(first) = found.iter_mut().find(of_same) {
                        first.size += facts.len();
                    }
                }
                _ => {
                    let below = path.strip_prefix(root).unwrap_or(&path);
                    let name = named(&below.display().to_string());
                    found.push(FoundModel { owner, name, path, size: facts.len() });
                }
            }
        }
    }
    found
}

/// Ollama's models: manifests by registry, owner, name and tag, which name their contents.
fn ollama(folder: &Path) -> Vec<FoundModel> {
    const MODEL: &str = "application/vnd.ollama.image.model";
    let manifests = folder.join("manifests");
    let (mut found, mut folders, mut seen) = (Vec::new(), vec![(manifests.clone(), 0)], 0);
    while let Some((place, depth)) = folders.pop() {
        seen += 1;
        for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if depth < DEPTH && seen + folders.len() < MOST_FOLDERS {
                    folders.push((path, depth + 1));
                }
                continue;
            }
            let Ok(text) = fs::read(&path) else { continue };
            let Ok(manifest) = serde_json::from_slice::<Value>(&text) else { continue };
            let layers = manifest["layers"].as_array().into_iter().flatten();
            let model = layers.filter(|layer| layer["mediaType"] == MODEL).find_map(|layer| {
                let digest = layer["digest"].as_str()?.strip_prefix("sha256:")?;
                let plain = digest.bytes().all(|byte| byte.is_ascii_hexdigit());
                plain.then(|| folder.join("blobs").join(format!("sha256-{digest}")))
            });
            let Some(blob) = model else { continue };
            let Ok(facts) = fs::metadata(&blob) else { continue };
            let below = path.strip_prefix(&manifests).unwrap_or(&path);
            let parts: Vec<String> =
                below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            let name = match parts.as_slice() {
                [_, owner, name, tag] if owner == "library" => format!("{name}:{tag}"),
                [_, owner, name, tag] => format!("{owner}/{name}:{tag}"),
                other => other.join("/"),
            };
            found.push(FoundModel { owner: Owner::Ollama, name, path: blob, size: facts.len() });
        }
    }
    found
}

/// Why this program cannot run a model; empty where it can. Reads no weights.
#[must_use]
pub fn obstacles(file: &Checkpoint) -> Vec<String> {
    let mut obstacles = Vec::new();
    match file.config() {
        Ok(config) => {
            if let Err(error) = Layout::new(file, &config) {
                obstacles.push(chain(&error));
            }
        }
        Err(error) => obstacles.push(chain(&error)),
    }
    match file.tokenizer() {
        Ok(tokenizer) => {
            if let Err(error) = file.chat_template(&tokenizer) {
                obstacles.push(chain(&error));
            }
        }
        Err(error) => obstacles.push(chain(&error)),
    }
    obstacles
}

/// The same of a path: that it cannot be opened is an obstacle, too.
#[must_use]
pub fn obstacles_of(path: &Path) -> Vec<String> {
    match Checkpoint::open(path) {
        Ok(file) => obstacles(&file),
        Err(error) => vec![chain(&error)],
    }
}

#[cfg(test)]
mod tests {
    use speckv_formats::tiny::Tiny;

    use super::*;

    fn put(path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    #[test]
    fn every_cache_is_read_in_its_own_layout() {
        let place = tempfile::tempdir().expect("a folder");
        let root = place.path();
        let tiny = Tiny::default().to_bytes().expect("a model");
        let hub = root.join("hub/models--them--x-GGUF");
        put(&hub.join("refs/main"), b"c0ffee");
        put(&hub.join("snapshots/c0ffee/x-Q8_0.gguf"), &tiny);
        put(&hub.join("snapshots/0ther/x-Q4_0.gguf"), &tiny);
        put(&root.join("studio/them/x/x-00001-of-00002.gguf"), &tiny);
        put(&root.join("studio/them/x/x-00002-of-00002.gguf"), &[0; 5]);
        put(&root.join("studio/them/x/mmproj-x.gguf"), &tiny);
        put(&root.join("llama/broken.gguf"), b"GGUF");
        put(&root.join("ollama/blobs/sha256-ab12"), &tiny);
        let manifest = br#"{"layers": [{"mediaType": "application/vnd.ollama.image.license"},
            {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:ab12"}]}"#;
        put(&root.join("ollama/manifests/registry.ollama.ai/library/x/latest"), manifest);
        put(&root.join("ollama/manifests/registry.ollama.ai/library/y/latest"), b"{");
        let caches = Caches {
            hub: Some(root.join("hub")),
            lm_studio: vec![root.join("studio"), root.join("nowhere")],
            llama_cpp: Some(root.join("llama")),
            ollama: Some(root.join("ollama")),
        };
        let models = caches.models();
        let seen: Vec<(&str, &str, u64)> =
            models.iter().map(|it| (it.owner.name(), it.name.as_str(), it.size)).collect();
        let size = tiny.len() as u64;
        assert_eq!(
            seen,
            [
                ("Hugging Face", "them/x-GGUF/x-Q8_0.gguf", size),
                ("LM Studio", "them/x/x-00001-of-00002.gguf", size + 5),
                ("llama.cpp", "broken.gguf", 4),
                ("Ollama", "x:latest", size),
            ]
        );
        assert_eq!(obstacles_of(&models[0].path), Vec::<String>::new());
        assert_eq!(obstacles_of(&models[3].path), Vec::<String>::new());
        assert!(!obstacles_of(&models[2].path).is_empty());
    }
}
