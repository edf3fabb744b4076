//! What the Hub says of a repository: its commit and its files.

use std::{io::Read, sync::mpsc, thread, time::Duration};

use serde::Deserialize;

use super::error::HubError;
use crate::{download::Options, interrupt::Interrupt};

/// Longest answer that is read.
const MOST: u64 = 64 << 20;
const TICK: Duration = Duration::from_millis(100);

/// A repository at one commit.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub commit: String,
    pub files: Vec<RemoteFile>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Path inside the repository.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Name of its content in the cache: the SHA-256 of a large file, the identity in Git of
    /// another.
    pub blob: String,
    /// SHA-256, of large files only.
    pub sha256: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    sha256: String,
    size: Option<u64>,
}

/// How one request ended.
enum Reply {
    Body(Vec<u8>),
    /// A status, and the seconds to wait before another try.
    Status(u16, Option<u64>),
    /// No connection.
    Unreachable(String),
}

/// The files of a repository's main branch.
pub(super) fn repository(
    repo: &str,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<Repository, HubError> {
    let url = format!("{}/api/models/{repo}/revision/main?blobs=true", options.hub);
    let mut tries = 0;
    loop {
        let reason = match ask(&url, options, interrupt)? {
            Reply::Body(body) => return read(repo, &body),
            Reply::Status(status @ (401 | 403), _) => {
                let (repo, has_token) = (repo.to_owned(), options.token.is_some());
                return Err(HubError::Denied { repo, status, has_token });
            }
            Reply::Status(404, _) => return Err(HubError::NoRepository { repo: repo.to_owned() }),
            Reply::Status(status @ (408 | 429 | 500..=599), wait) => {
                tries += 1;
                let reason = format!("HTTP status {status}");
                if tries <= options.retries {
                    let own = options.pause * 2_u32.saturating_pow(tries - 1);
                    let asked = wait.map_or(own, Duration::from_secs);
                    sleep(asked.min(Duration::from_secs(60)), interrupt)?;
                    continue;
                }
                reason
            }
            Reply::Status(status, _) => format!("HTTP status {status}"),
            Reply::Unreachable(reason) => reason,
        };
        return Err(HubError::Unreachable { hub: options.hub.clone(), reason });
    }
}

/// Only names that stay inside the cache's folders are taken.
fn read(repo: &str, body: &[u8]) -> Result<Repository, HubError> {
    let wrong = |why: String| HubError::Answer { repo: repo.to_owned(), why };
    let answer: Answer = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if !plain(&answer.sha) {
        return Err(wrong(format!("expected a commit, got {:?}", answer.sha)));
    }
    let inside = |path: &str| {
        !path.is_empty()
            && !path.contains(['\\', ':'])
            && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
    };
    let file = |sibling: Sibling| {
        let Sibling { rfilename: path, size, blob_id, lfs } = sibling;
        let (size, sha256) = match lfs {
            Some(large) => (large.size.or(size), Some(large.sha256.to_ascii_lowercase())),
            None => (size, None),
        };
        let blob = sha256.clone().or(blob_id)?;
        (inside(&path) && plain(&blob)).then_some(RemoteFile { path, size: size?, blob, sha256 })
    };
    let files = answer.siblings.into_iter().filter_map(file).collect();
    Ok(Repository { commit: answer.sha, files })
}

/// One request, on a thread of its own so that Ctrl-C is heard.
fn ask(url: &str, options: &Options, interrupt: &Interrupt) -> Result<Reply, HubError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let (url, options) = (url.to_owned(), options.clone());
    thread::spawn(move || {
        let _ = sender.send(talk(&url, &options));
    });
    loop {
        if interrupt.is_raised() {
            return Err(HubError::Interrupted);
        }
        match receiver.recv_timeout(TICK) {
            Ok(reply) => return Ok(reply),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Ok(Reply::Unreachable("the connection was lost".into()));
            }
        }
    }
}

fn talk(url: &str, options: &Options) -> Reply {
    let response = match crate::download::request(url, options).call() {
        Ok(response) => response,
        Err(error) => return Reply::Unreachable(crate::download::error_text(&error)),
    };
    let status = response.status().as_u16();
    if status != 200 {
        let wait = response.headers().get("retry-after").and_then(|wait| wait.to_str().ok());
        return Reply::Status(status, wait.and_then(|wait| wait.trim().parse().ok()));
    }
    let mut body = Vec::new();
    match response.into_body().into_reader().take(MOST).read_to_end(&mut body) {
        Ok(_) => Reply::Body(body),
        Err(error) => Reply::Unreachable(format!("the connection broke: {error}")),
    }
}

fn sleep(time: Duration, interrupt: &Interrupt) -> Result<(), HubError> {
    let ticks = time.as_millis().div_ceil(TICK.as_millis());
    for _ in 0..ticks {
        if interrupt.is_raised() {
            return Err(HubError::Interrupted);
        }
        thread::sleep(TICK.min(time));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_of_the_cache_are_left_out() {
        let body = serde_json::json!({"sha": "abc1", "siblings": [
            {"rfilename": "a.gguf", "size": 7, "blobId": "x1", "lfs": {"sha256": "AB", "size": 9}},
            {"rfilename": "b/c.json", "size": 3, "blobId": "d4"},
            {"rfilename": "../d.json", "size": 3, "blobId": "d4"},
            {"rfilename": "/e.json", "size": 3, "blobId": "d4"},
            {"rfilename": "f.json", "size": 3, "blobId": "../d4"},
            {"rfilename": "g.json"},
        ]});
        let repository = read("a/b", body.to_string().as_bytes()).expect("an answer");
        let names: Vec<&str> = repository.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["a.gguf", "b/c.json"]);
        assert_eq!((repository.files[0].size, repository.files[0].blob.as_str()), (9, "ab"));
        assert!(read("a/b", b"{\"sha\": \"../x\"}").is_err() && read("a/b", b"[").is_err());
    }
}
