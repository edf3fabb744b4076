//! Labels of metrics.

use prometheus_client::encoding::EncodeLabelSet;

/// Why an answer is complete.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reason {
    pub finished_reason: String,
}

/// Why an answer ended early.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Why {
    pub reason: String,
}

/// The route and status of an HTTP request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Answered {
    pub path: String,
    pub status: u32,
}

/// The position of a draft token in its step, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Position {
    pub position: u64,
}
