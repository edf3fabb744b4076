//! The cache that programs for the Hub share: `models--OWNER--NAME` with contents under `blobs`, by
//! their checksums, and names under `snapshots`, by commit, that lead to them.

#![expect(clippy::disallowed_methods, reason = "the environment says where the cache is")]

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    folder: PathBuf,
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folder of settings: `$HF_HOME`, else `huggingface` in `$XDG_CACHE_HOME` or `~/.cache`.
fn home() -> Option<PathBuf> {
    let in_cache = |cache: PathBuf| cache.join("huggingface");
    let own = variable("XDG_CACHE_HOME").map(in_cache);
    let usual = || std::env::home_dir().map(|home| in_cache(home.join(".cache")));
    variable("HF_HOME").or(own).or_else(usual)
}

/// The token: `$HF_TOKEN`, else what a log-in of the Hub's own tool has left.
#[must_use]
pub(crate) fn token() -> Option<String> {
    let named = std::env::var("HF_TOKEN").ok();
    let file = variable("HF_TOKEN_PATH").or_else(|| Some(home()?.join("token")));
    let kept = || fs::read_to_string(file?).ok();
    named.or_else(kept).map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// Whether the environment forbids the network.
#[must_use]
pub(crate) fn is_offline() -> bool {
    let yes = |name: &str| {
        std::env::var(name).is_ok_and(|value| {
            let value = value.trim().to_ascii_lowercase();
            ["1", "true", "yes", "on"].contains(&value.as_str())
        })
    };
    yes("HF_HUB_OFFLINE") || yes("TRANSFORMERS_OFFLINE")
}

impl HubCache {
    /// A cache in the given folder, which need not exist yet.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        HubCache { folder }
    }

    /// The user's cache: `$HF_HUB_CACHE`, else `hub` in `$HF_HOME`, else in
    /// `~/.cache/huggingface`.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let named = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
        named.or_else(|| Some(home()?.join("hub"))).map(HubCache::new)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn name(repo: &str) -> String {
        format!("models--{}", repo.replace('/', "--"))
    }

    pub(crate) fn repo(&self, repo: &str) -> PathBuf {
        self.folder.join(Self::name(repo))
    }

    pub(crate) fn blob(&self, repo: &str, blob: &str) -> PathBuf {
        self.repo(repo).join("blobs").join(blob)
    }

    pub(crate) fn lock(&self, repo: &str, blob: &str) -> PathBuf {
        self.folder.join(".locks").join(Self::name(repo)).join(format!("{blob}.lock"))
    }

    pub(crate) fn snapshot(&self, repo: &str, commit: &str) -> PathBuf {
        self.repo(repo).join("snapshots").join(commit)
    }

    /// The commit that was seen last.
    pub(crate) fn commit(&self, repo: &str) -> Option<String> {
        let commit = fs::read_to_string(self.repo(repo).join("refs").join("main")).ok()?;
        let commit = commit.trim().to_owned();
        let plain = commit.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (plain && !commit.is_empty()).then_some(commit)
    }

    /// Notes the commit that was seen.
    pub(crate) fn set_commit(&self, repo: &str, commit: &str) -> io::Result<()> {
        let folder = self.repo(repo).join("refs");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("main"), commit)
    }

    /// Makes a name of a snapshot lead to a content that is there.
    pub(crate) fn link(&self, repo: &str, commit: &str, path: &str, blob: &str) -> io::Result<()> {
        let name = self.snapshot(repo, commit).join(path);
        if name.exists() {
            return Ok(());
        }
        if let Some(folder) = name.parent() {
            fs::create_dir_all(folder)?;
        }
        let _ = fs::remove_file(&name); // a name that leads nowhere
        let up = "../".repeat(2 + path.matches('/').count());
        match link_to(Path::new(&format!("{up}blobs/{blob}")), &name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // Some systems and disks have no links: the name has the content itself.
                fs::hard_link(self.blob(repo, blob), &name)
                    .or_else(|_| fs::copy(self.blob(repo, blob), &name).map(|_| ()))
            }
            _ => Ok(()),
        }
    }

    /// Paths of the files of a snapshot that are there.
    pub(crate) fn files(&self, repo: &str, commit: &str) -> Vec<String> {
        let mut found = Vec::new();
        let root = self.snapshot(repo, commit);
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
            for entry in entries.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                match fs::metadata(entry.path()) {
                    Ok(facts) if facts.is_dir() && path.matches('/').count() < 8 => {
                        folders.push(path)
                    }
                    Ok(facts) if facts.is_file() => found.push(path),
                    _ => {}
                }
            }
        }
        found.sort();
        found
    }

    /// Repositories of models, with the snapshot of each that was seen last.
    #[must_use]
    pub fn repositories(&self) -> Vec<(String, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut found: Vec<(String, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let repo = name.strip_prefix("models--")?.replacen("--", "/", 1);
                let commit = self.commit(&repo)?;
                let snapshot = self.snapshot(&repo, &commit);
                snapshot.is_dir().then_some((repo, snapshot))
            })
            .collect();
        found.sort();
        found
    }
}

#[cfg(unix)]
fn link_to(target: &Path, name: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, name)
}

#[cfg(not(unix))]
fn link_to(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
