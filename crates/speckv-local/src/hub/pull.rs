//! From a repository's name to files that are there.

use std::path::PathBuf;

use super::{
    HubError, HubName,
    api::{self, RemoteFile},
    choice::{Choice, DEFAULT_QUANT, NoChoice, choose},
};
use crate::{
    download::{self, Blob, Event, Options},
    hub_cache::HubCache,
    interrupt::Interrupt,
    units,
};

/// A model that is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Its file, the first of its parts, or its folder.
    pub path: PathBuf,
    /// The quantization, as the files' names spell it; `None` for a folder.
    pub quant: Option<String>,
    /// Bytes of its files.
    pub size: u64,
    /// Bytes that were fetched now.
    pub fetched: u64,
}

/// Makes the files of a repository's model be in the cache. `progress` is told bytes that are here
/// and bytes of all files; notes are for the user.
///
/// # Errors
/// See [`HubError`].
pub fn pull(
    name: &HubName,
    options: &Options,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event, u64),
) -> Result<Pulled, HubError> {
    let cache = options.hub_cache.clone().map(HubCache::new).ok_or(HubError::NoCache)?;
    let asked = match options.offline {
        true => Err(HubError::Offline { repo: name.repo.clone() }),
        false => api::repository(&name.repo, options, interrupt),
    };
    match asked {
        Ok(repository) => fetch(name, &repository, &cache, options, interrupt, on_event),
        Err(error @ (HubError::Offline { .. } | HubError::Unreachable { .. })) => {
            let Some(found) = kept(name, &cache)? else { return Err(error) };
            if !options.offline {
                on_event(Event::Note(format!("{error}; taking what is in the cache")), found.size);
            }
            Ok(found)
        }
        Err(error) => Err(error),
    }
}

fn chosen(name: &HubName, paths: &[&str]) -> Result<Choice, HubError> {
    choose(paths, name.quant.as_deref()).map_err(|why| match why {
        NoChoice::Quant(there) => HubError::NoQuant { name: name.clone(), there },
        NoChoice::NoModel => HubError::NoModel { repo: name.repo.clone() },
    })
}

/// Where the model of a choice is.
fn place(cache: &HubCache, repo: &str, commit: &str, choice: &Choice) -> (PathBuf, Option<String>) {
    let snapshot = cache.snapshot(repo, commit);
    match choice {
        Choice::Gguf { paths, quant, .. } => (snapshot.join(&paths[0]), Some(quant.clone())),
        Choice::Folder { .. } => (snapshot, None),
    }
}

/// The model as the cache has it.
fn kept(name: &HubName, cache: &HubCache) -> Result<Option<Pulled>, HubError> {
    let Some(commit) = cache.commit(&name.repo) else { return Ok(None) };
    let files = cache.files(&name.repo, &commit);
    if files.is_empty() {
        return Ok(None);
    }
    let paths: Vec<&str> = files.iter().map(String::as_str).collect();
    let choice = chosen(name, &paths)?;
    let snapshot = cache.snapshot(&name.repo, &commit);
    let size =
        |path: &String| std::fs::metadata(snapshot.join(path)).map_or(0, |facts| facts.len());
    let size = choice.paths().iter().map(size).sum();
    let (path, quant) = place(cache, &name.repo, &commit, &choice);
    Ok(Some(Pulled { path, quant, size, fetched: 0 }))
}

fn fetch(
    name: &HubName,
    repository: &api::Repository,
    cache: &HubCache,
    options: &Options,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(Event, u64),
) -> Result<Pulled, HubError> {
    let (repo, commit) = (&name.repo, &repository.commit);
    let paths: Vec<&str> = repository.files.iter().map(|file| file.path.as_str()).collect();
    let choice = chosen(name, &paths)?;
    let of_path = |path: &String| repository.files.iter().find(|file| file.path == *path);
    let files: Vec<&RemoteFile> = choice.paths().iter().filter_map(of_path).collect();
    let total: u64 = files.iter().map(|file| file.size).sum();
    if let Choice::Gguf { quant, other: true, .. } = &choice {
        on_event(Event::Note(format!("{repo} has no {DEFAULT_QUANT}: taking {quant}")), total);
    }
    let is_here = |file: &RemoteFile| {
        std::fs::metadata(cache.blob(repo, &file.blob)).is_ok_and(|here| here.len() == file.size)
    };
    let missing: u64 = files.iter().filter(|file| !is_here(file)).map(|file| file.size).sum();
    if missing > 0 {
        let count =
            if files.len() == 1 { String::new() } else { format!("{} files, ", files.len()) };
        let (size, to) = (units::bytes(total), cache.repo(repo));
        on_event(Event::Note(format!("{name}: {count}{size}, to {}", to.display())), total);
    }
    let broken = |source| HubError::Cache { folder: cache.folder().to_owned(), source };
    let mut done = 0;
    for file in files {
        let path = cache.blob(repo, &file.blob);
        if !is_here(file) {
            let blob = Blob {
                name: file.path.clone(),
                url: format!("{}/{repo}/resolve/{commit}/{}", options.hub, escaped(&file.path)),
                path,
                lock: cache.lock(repo, &file.blob),
                size: file.size,
                sha256: file.sha256.clone(),
            };
            download::fetch_blob(&blob, options, interrupt, &mut |event| {
                let event = match event {
                    Event::At(bytes) => Event::At(done + bytes),
                    note => note,
                };
                on_event(event, total);
            })?;
        }
        done += file.size;
        cache.link(repo, commit, &file.path, &file.blob).map_err(broken)?;
    }
    cache.set_commit(repo, commit).map_err(broken)?;
    let (path, quant) = place(cache, repo, commit, &choice);
    Ok(Pulled { path, quant, size: total, fetched: missing })
}

/// A path in an address.
fn escaped(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}
