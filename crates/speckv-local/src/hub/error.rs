//! Why a repository's model cannot be used.

use std::{io, path::PathBuf};

use super::HubName;
use crate::download::DownloadError;

/// Why a repository's model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// No place for the cache.
    #[error("no place for models of the Hub: neither HF_HOME nor a home folder is known")]
    NoCache,
    /// The Hub does not answer.
    #[error("{hub} cannot be reached: {reason}")]
    Unreachable {
        /// Its address.
        hub: String,
        /// Why not.
        reason: String,
    },
    /// The network is forbidden and the files are not there.
    #[error("{repo} is not in the cache, and HF_HUB_OFFLINE is set")]
    Offline {
        /// The repository.
        repo: String,
    },
    /// No access.
    #[error("the Hub gives no access to {repo} (HTTP status {status})")]
    Denied {
        /// The repository.
        repo: String,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// No such repository.
    #[error("the Hub has no repository {repo}, or none that may be seen")]
    NoRepository {
        /// The repository.
        repo: String,
    },
    /// An answer that makes no sense.
    #[error("the Hub's answer for {repo} cannot be read: {why}")]
    Answer {
        /// The repository.
        repo: String,
        /// Why not.
        why: String,
    },
    /// Nothing that could be run.
    #[error("{repo} has neither GGUF files nor a folder with safetensors")]
    NoModel {
        /// The repository.
        repo: String,
    },
    /// Another quantization was asked for than there are.
    #[error("{name} is not there; the repository has {}", list(there))]
    NoQuant {
        /// What was asked for.
        name: HubName,
        /// Quantizations that are there.
        there: Vec<String>,
    },
    /// The user stopped.
    #[error("stopped while the Hub was asked")]
    Interrupted,
    /// The cache cannot be written.
    #[error("cannot write to the cache {}: {source}", folder.display())]
    Cache {
        /// The cache.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be fetched.
    #[error(transparent)]
    Download(#[from] DownloadError),
}

fn list(there: &[String]) -> String {
    if there.is_empty() { "a folder with safetensors only".into() } else { there.join(", ") }
}

impl HubError {
    /// The next step for the user.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            HubError::NoCache => "set HF_HOME to a folder with room for the models".into(),
            HubError::Unreachable { .. } => {
                "check the network; HF_ENDPOINT names another address of the Hub, and a file that \
                 is here already needs only its path"
                    .into()
            }
            HubError::Offline { .. } => {
                "unset HF_HUB_OFFLINE to fetch it, or give the path of a file".into()
            }
            HubError::Denied { has_token: true, repo, .. } => format!(
                "the token in HF_TOKEN may lack access: accept the terms on the page of {repo}"
            ),
            HubError::Denied { repo, .. } | HubError::NoRepository { repo } => format!(
                "check the spelling of {repo}; for one that is private or has terms, set HF_TOKEN"
            ),
            HubError::Answer { .. } => "check that HF_ENDPOINT is the address of a Hub".into(),
            HubError::NoModel { .. } => {
                "look for a repository of the model whose name ends in -GGUF".into()
            }
            HubError::NoQuant { name, there } if there.is_empty() => {
                format!("`hf:{}` takes the folder as it is", name.repo)
            }
            HubError::NoQuant { name, there } => {
                format!("for example hf:{}:{}", name.repo, there[0])
            }
            HubError::Interrupted => "run the command again".into(),
            HubError::Cache { .. } => "set HF_HOME to a folder that can be written".into(),
            HubError::Download(error) => error.hint(),
        }
    }

    /// Whether the user stopped the work.
    #[must_use]
    pub fn is_interrupt(&self) -> bool {
        matches!(
            self,
            HubError::Interrupted
                | HubError::Download(
                    DownloadError::Interrupted { .. } | DownloadError::InterruptedWaiting
                )
        )
    }
}
