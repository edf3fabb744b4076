//! What the self-test says of a device.

/// Largest error of a sum, in parts of the sum of magnitudes.
const TOLERANCE: f64 = 1e-5;

/// What the self-test found for one format on one device.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FormatReport {
    /// The format's name.
    pub format: String,
    /// Rows of the largest tile that may be used: every tile up to it gives every row the same
    /// bits.
    pub largest_tile: usize,
    /// Largest error of a result, in parts of the sum of the magnitudes of its terms.
    pub error: f64,
}

impl FormatReport {
    /// Whether results are what the format's unpacking says.
    #[must_use]
    pub fn is_accurate(&self) -> bool {
        self.error <= TOLERANCE
    }
}
