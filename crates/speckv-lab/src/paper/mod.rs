//! The tables of the SpecKV paper (Shukla 2026, arXiv 2605.02888) from its public data, and an
//! audit of the same data in seconds.
//!
//! In order: [`crate::sheet`] reads a file strictly -> [`data`] has the files' contents ->
//! [`split`] divides them into training and test rows -> [`models`] fit -> [`policies`] forecast as
//! the paper does -> [`tables`] puts that beside what was published -> [`audit`] adds what is
//! observed. The data is not part of this project; a user names its folder.

pub mod audit;
pub mod data;
pub mod models;
pub mod policies;
pub mod published;

pub mod split;
pub mod tables;

/// The seed that the paper's scripts used: with it, split, initial weights and minibatches are the
/// paper's own.
pub const PAPER_SEED: u32 = 42;
