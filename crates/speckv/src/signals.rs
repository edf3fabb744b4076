//! What a distribution says about itself, read in one pass over the logits.

/// Signals of a draft's distribution at one position, at temperature 1 and before any filter.
///
/// With probabilities `p` over the vocabulary: entropy `-sum p log2 p` in bits, confidence `max p`, margin `max p - second p`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Signals {
    /// Entropy in bits, from 0 to log2 of the vocabulary size.
    pub entropy_bits: f32,
    /// Largest probability, in (0, 1].
    pub confidence: f32,
    /// Largest minus second largest probability, in [0, 1].
    pub margin: f32,
    /// For n-gram look-up, the number of tokens that matched; 0 for a model.
    pub match_length: u16,
}
