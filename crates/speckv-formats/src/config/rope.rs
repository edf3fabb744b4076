//! Rotary position embeddings, and the ways of stretching them over longer contexts.

/// Rotary position embedding: pair `i` of a head turns by `position / (factor_i * linear_factor) *
/// base^(-2i / dim)`, unless it is stretched by [`Yarn`].
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub base: f32,
    /// Values of a head that turn; the rest stays.
    pub dim: usize,
    /// Pairs are neighbours, not halves.
    pub interleaved: bool,
    /// All positions are divided by this.
    pub linear_factor: f32,
    /// Factors per pair, [dim / 2]; empty where all are 1. GGUF keeps them as a tensor instead.
    pub factors: Vec<f32>,
    /// Frequencies stretched by their length.
    pub yarn: Option<Yarn>,
    /// Other factors for long contexts.
    pub long: Option<Long>,
    /// What has turned is multiplied by this.
    pub attention_factor: f32,
}

/// YaRN, Peng et al. 2023, arXiv 2309.00071: pairs that make more than `fast` turns over the
/// original context keep their frequency, those that make fewer than `slow` divide it by `factor`,
/// and between lies a ramp over the pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Yarn {
    /// How much longer the context has become.
    pub factor: f32,
    /// Positions of the original context.
    pub context: usize,
    /// Turns from which on a pair keeps its frequency.
    pub fast: f32,
    /// Turns up to which a pair's frequency is divided.
    pub slow: f32,
    /// The ramp begins and ends at whole pairs.
    pub whole: bool,
}

impl Yarn {
    /// Share of each pair that keeps its frequency, [dim / 2].
    fn kept(&self, base: f64, dim: usize) -> Vec<f64> {
        // The pair, of real number, that makes so many turns over the original context.
        let pair = |turns: f32| {
            let wavelength = self.context as f64 / (f64::from(turns) * std::f64::consts::TAU);
            dim as f64 * wavelength.ln() / (2.0 * base.ln())
        };
        let (low, high) = (pair(self.fast), pair(self.slow));
        let (low, high) = if self.whole { (low.floor(), high.ceil()) } else { (low, high) };
        let (low, high) = (low.max(0.0), high.min(dim as f64 - 1.0));
        let length = if low == high { 0.001 } else { high - low };
        (0..dim / 2).map(|pair| 1.0 - ((pair as f64 - low) / length).clamp(0.0, 1.0)).collect()
    }

    /// The usual factor of what has turned, `0.1 ln(factor) + 1`; `scale` multiplies the logarithm.
    pub(super) fn attention_factor(factor: f32, scale: f32) -> f32 {
        if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 }
    }
}

/// LongRoPE, Ding et al. 2024, arXiv 2402.13753: a model that was made for more than `context`
/// positions has factors of its own for them. A loaded model has the ones or the others for all its
/// positions, by the longest context that it is loaded for, so that what has been read stays valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Long {
    /// Positions up to which the other factors hold.
    pub context: usize,
    /// Factors per pair beyond, [dim / 2]; empty where GGUF keeps them as a tensor.
    pub factors: Vec<f32>,
}

/// Factors of rotary pairs that a file keeps as tensors.
#[derive(Debug, Clone, Copy, Default)]
pub struct RopeFactors<'a> {
    /// Of all contexts, or of short ones, [dim / 2].
    pub usual: Option<&'a [f32]>,
    /// Of long contexts, [dim / 2].
    pub long: Option<&'a [f32]>,
}

impl Rope {
    /// An embedding with this base that nothing stretches.
    #[must_use]
    pub fn plain(base: f32, dim: usize, interleaved: bool) -> Self {
        Rope {
            base,
            dim,
            interleaved,
            linear_factor: 1.0,
            factors: Vec::new(),
            yarn: None,
            long: None,
            attention_factor: 1.0,
        }
    }

    /// The same without what stretches it.
    pub(super) fn unscaled(&self) -> Self {
        Rope::plain(self.base, self.dim, self.interleaved)
    }

    /// Angle per position of each pair, [dim / 2], for a model that is loaded for `context`
    /// positions. `tensors` stand in where the blueprint has no factors.
    #[must_use]
    pub fn frequencies(&self, tensors: RopeFactors<'_>, context: usize) -> Vec<f64> {
        let own = |factors: &'_ [f32]| (!factors.is_empty()).then(|| factors.to_vec());
        let usual = || own(&self.factors).or_else(|| tensors.usual.map(<[f32]>::to_vec));
        let factors = match &self.long {
            Some(long) if context > long.context => {
                own(&long.factors).or_else(|| tensors.long.map(<[f32]>::to_vec)).or_else(usual)
            }
            _ => usual(),
        };
        let base = f64::from(self.base);
        let kept = self.yarn.as_ref().map(|yarn| (yarn.kept(base, self.dim), yarn.factor));
        (0..self.dim / 2)
            .map(|pair| {
                let factor = factors.as_ref().map_or(1.0, |factors| f64::from(factors[pair]));
                let exponent = -2.0 * pair as f64 / self.dim as f64;
                let frequency = base.powf(exponent) / factor / f64::from(self.linear_factor);
                match &kept {
                    None => frequency,
                    Some((kept, factor)) => {
                        frequency * (kept[pair] + (1.0 - kept[pair]) / f64::from(*factor))
                    }
                }
            })
            .collect()
    }
}
