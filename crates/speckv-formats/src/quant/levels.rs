//! Blocks whose integers are indices into a few levels, in groups that share a scale.

/// A block's numbers. A value is `d UNIT scale[i / (LEN / GROUPS)] LEVELS[q[i]]` with the levels
/// and the unit of its format.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block<const LEN: usize, const GROUPS: usize> {
    /// Scale of the scales.
    pub d: f32,
    /// A scale per group.
    pub scales: [i8; GROUPS],
    /// Indices into the levels.
    pub q: [u8; LEN],
}

impl<const LEN: usize, const GROUPS: usize> Block<LEN, GROUPS> {
    /// The values; every product is exact in `f32`.
    #[must_use]
    pub fn values(&self, levels: &[i8], unit: f32) -> [f32; LEN] {
        std::array::from_fn(|i| {
            let scale = f32::from(self.scales[i / (LEN / GROUPS)]);
            self.d * unit * scale * f32::from(levels[usize::from(self.q[i])])
        })
    }
}
