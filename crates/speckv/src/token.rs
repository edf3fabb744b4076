//! Tokens and vocabularies.

/// Index of a token in the vocabulary that draft and target share.
pub type Token = u32;
