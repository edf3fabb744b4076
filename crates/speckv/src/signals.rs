//! Entropy, confidence and margin of a distribution, read in one pass over its logits.

use crate::{
    exponential::{SMALLEST, exp_from_smallest},
    logits::LogitsError,
    token::Token,
};

/// Signals of a draft's distribution at one position, at temperature 1 and before any filter.
///
/// With probabilities `p` over the vocabulary: entropy `-sum p log2 p` in bits, confidence `max p`,
/// margin `max p - second p`.
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

/// The likeliest tokens of a row of logits, and what the row's distribution looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// The token with the largest logit, of several the one with the smallest number.
    pub token: Token,
    /// The likeliest of the other tokens, of several the one with the smallest number. `None` where
    /// no other token is possible, or where a backend does not say.
    pub second: Option<Token>,
    /// Entropy, confidence and margin of softmax(logits). `match_length` is 0.
    pub signals: Signals,
}

/// Values that stay in the first-level cache between the look for the largest and the sums.
const CHUNK: usize = 2048;
/// Independent sums. Sixteen is what the compiler turns into full vectors; with eight it unrolls
/// first and makes scalars of it.
const LANES: usize = 16;

/// The two likeliest tokens and the signals of softmax(logits), from one pass over `logits`
/// (`[vocab]`).
///
/// With m = max x, d = x - m, Z = sum e^d: entropy = (ln Z - sum(d e^d) / Z) / ln 2, confidence = 1
/// / Z, margin = (1 - e^(second - m)) / Z. The sums run against the largest value so far and are
/// rescaled when it grows. A logit of minus infinity is probability 0 and adds nothing. Relative
/// error about 1e-6.
///
/// ```
/// use speckv::signals::{self, Best};
///
/// let logits = [0.5_f32, 0.25, 0.25].map(f32::ln);
/// let Best { token, second, signals } = signals::read(&logits)?;
/// assert_eq!((token, second), (0, Some(1)));
/// assert!((signals.entropy_bits - 1.5).abs() < 1e-5);
/// assert!((signals.confidence - 0.5).abs() < 1e-5);
/// assert!((signals.margin - 0.25).abs() < 1e-5);
/// # Ok::<(), speckv::logits::LogitsError>(())
/// ```
///
/// # Errors
/// No logits, a NaN, plus infinity, or nothing but minus infinity.
pub fn read(logits: &[f32]) -> Result<Best, LogitsError> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, just checked.
        return unsafe { read_avx2(logits) };
    }
    read_anywhere(logits)
}

/// The same operations on the same lanes, two vectors at a time: the result is the same, bit for
/// bit.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_avx2(logits: &[f32]) -> Result<Best, LogitsError> {
    read_anywhere(logits)
}

#[inline(always)]
fn read_anywhere(logits: &[f32]) -> Result<Best, LogitsError> {
    let (mut likeliest, mut runner_up) = (0, 0); // places of `largest` and `second`
    let (mut largest, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    let (mut weights, mut moments) = (0.0_f64, 0.0_f64); // sum e^d, sum d e^d with d = x - largest
    for (index, chunk) in logits.chunks(CHUNK).enumerate() {
        let (first, next) = two_largest(chunk);
        if first == f32::NEG_INFINITY {
            if chunk.iter().any(|x| x.is_nan()) {
                return Err(LogitsError::NotANumber);
            }
            continue;
        }
        if first > largest {
            if largest > f32::NEG_INFINITY {
                let shift = f64::from(largest) - f64::from(first);
                let scale = shift.exp();
                // e^shift underflows to 0 long before `shift * weights` could overflow, and 0 *
                // finite is 0.
                moments = scale * (moments + shift * weights);
                weights *= scale;
            }
            let place = position(chunk, first);
            (second, runner_up) = (largest, likeliest);
            if next > second {
                (second, runner_up) = (next, index * CHUNK + position_beside(chunk, next, place));
            }
            (largest, likeliest) = (first, index * CHUNK + place);
        } else if first > second {
            (second, runner_up) = (first, index * CHUNK + position(chunk, first));
        }
        let (chunk_weights, chunk_moments) = sums(chunk, largest);
        if chunk_weights.is_nan() {
            return Err(LogitsError::NotANumber);
        }
        weights += chunk_weights;
        moments += chunk_moments;
    }
    check_largest(logits, largest)?;
    let signals = Signals {
        entropy_bits: ((weights.ln() - moments / weights) / std::f64::consts::LN_2).max(0.0) as f32,
        confidence: (1.0 / weights) as f32,
        margin: (-(f64::from(second) - f64::from(largest)).exp_m1() / weights) as f32,
        match_length: 0,
    };
    let second = (second > f32::NEG_INFINITY).then_some(runner_up as Token);
    Ok(Best { token: likeliest as Token, second, signals })
}

/// The likeliest token, the first one of several: all that greedy decoding needs of `logits`
/// (`[vocab]`).
///
/// # Errors
/// As [`read`].
pub fn argmax(logits: &[f32]) -> Result<Token, LogitsError> {
    largest(logits).map(|(token, _)| token)
}

/// The likeliest token and its logit.
pub(crate) fn largest(logits: &[f32]) -> Result<(Token, f32), LogitsError> {
    let mut likeliest = 0;
    let mut largest = f32::NEG_INFINITY;
    for (index, chunk) in logits.chunks(CHUNK).enumerate() {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let mut is_nan = [false; LANES];
        let (groups, rest) = chunk.as_chunks::<LANES>();
        for group in groups {
            for lane in 0..LANES {
                lanes[lane] = larger(lanes[lane], group[lane]);
                is_nan[lane] |= group[lane].is_nan();
            }
        }
        if is_nan.contains(&true) || rest.iter().any(|x| x.is_nan()) {
            return Err(LogitsError::NotANumber);
        }
        let first = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger);
        if first > largest {
            largest = first;
            likeliest = index * CHUNK + position(chunk, first);
        }
    }
    check_largest(logits, largest)?;
    Ok((likeliest as Token, largest))
}

fn check_largest(logits: &[f32], largest: f32) -> Result<(), LogitsError> {
    if logits.is_empty() {
        Err(LogitsError::Empty)
    } else if largest == f32::NEG_INFINITY {
        Err(LogitsError::AllImpossible)
    } else if largest == f32::INFINITY {
        Err(LogitsError::NotANumber)
    } else {
        Ok(())
    }
}

/// The second if it is larger, else the first; one instruction per vector, which `f32::max` with
/// its care for NaN is not.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

fn position(chunk: &[f32], value: f32) -> usize {
    chunk.iter().position(|&x| x == value).unwrap_or(0)
}

/// The place of a value, another place than `beside`.
fn position_beside(chunk: &[f32], value: f32, beside: usize) -> usize {
    let equal = |(place, &x): (usize, &f32)| x == value && place != beside;
    chunk.iter().enumerate().position(equal).unwrap_or(0)
}

/// The largest value and the largest of the others (equal to it where it occurs twice), NaN passed
/// over.
#[inline(always)]
fn two_largest(chunk: &[f32]) -> (f32, f32) {
    let mut first = [f32::NEG_INFINITY; LANES];
    let mut second = [f32::NEG_INFINITY; LANES];
    let (groups, rest) = chunk.as_chunks::<LANES>();
    for group in groups {
        for lane in 0..LANES {
            let x = group[lane];
            second[lane] = larger(second[lane], smaller(first[lane], x));
            first[lane] = larger(first[lane], x);
        }
    }
    let (mut most, mut next) =
        (f32::NEG_INFINITY, second.into_iter().fold(f32::NEG_INFINITY, larger));
    for &x in first.iter().chain(rest) {
        next = larger(next, smaller(most, x));
        most = larger(most, x);
    }
    (most, next)
}

/// sum e^d and sum d e^d with d = x - largest <= 0; NaN if there is one.
#[inline(always)]
fn sums(chunk: &[f32], largest: f32) -> (f64, f64) {
    let mut weights = [0.0_f32; LANES];
    let mut moments = [0.0_f32; LANES];
    let (groups, rest) = chunk.as_chunks::<LANES>();
    for group in groups {
        for lane in 0..LANES {
            let (weight, moment) = weight_and_moment(group[lane] - largest);
            weights[lane] += weight;
            moments[lane] += moment;
        }
    }
    for (lane, x) in rest.iter().enumerate() {
        let (weight, moment) = weight_and_moment(x - largest);
        weights[lane] += weight;
        moments[lane] += moment;
    }
    let total = |lanes: [f32; LANES]| lanes.into_iter().map(f64::from).sum();
    (total(weights), total(moments))
}

/// e^d and d e^d for d <= 0. What is impossible gets 1e-38 instead of 0: next to the largest
/// weight, 1, no sum can tell.
#[inline(always)]
fn weight_and_moment(d: f32) -> (f32, f32) {
    let d = if d < SMALLEST { SMALLEST } else { d }; // this way round, NaN stays NaN
    let weight = exp_from_smallest(d);
    (weight, d * weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of the largest logits at other places than `without`.
    fn largest_place(logits: &[f32], without: Option<usize>) -> Option<usize> {
        (0..logits.len())
            .rev()
            .filter(|&place| Some(place) != without && logits[place] > f32::NEG_INFINITY)
            .max_by(|&a, &b| logits[a].partial_cmp(&logits[b]).unwrap())
    }

    /// The definitions in f64, without any of the tricks.
    fn reference(logits: &[f32]) -> (Token, f64, f64, f64) {
        let likeliest = largest_place(logits, None).unwrap();
        let most = f64::from(logits[likeliest]);
        let weights: Vec<f64> = logits.iter().map(|&x| (f64::from(x) - most).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut p: Vec<f64> = weights.iter().map(|w| w / total).collect();
        let entropy = p.iter().filter(|&&p| p > 0.0).map(|p| -p * p.log2()).sum();
        p.sort_by(|a, b| b.total_cmp(a));
        (likeliest as Token, entropy, p[0], p[0] - p.get(1).unwrap_or(&0.0))
    }

    fn agrees(logits: &[f32]) {
        let best = read(logits).unwrap();
        let Best { token, second, signals } = best;
        let (likeliest, entropy, confidence, margin) = reference(logits);
        assert_eq!(token, likeliest);
        let next = largest_place(logits, Some(likeliest as usize)).map(|place| place as Token);
        assert_eq!(second, next, "second of {} logits", logits.len());
        assert_eq!(read_anywhere(logits).unwrap(), best, "the portable path differs");
        assert_eq!(argmax(logits).unwrap(), likeliest);
        let close = |got: f32, expected: f64, what: &str| {
            let error = (f64::from(got) - expected).abs();
            assert!(
                error <= 2e-6 * expected.abs().max(1.0),
                "{what}: {got} instead of {expected} over {} logits",
                logits.len()
            );
        };
        close(signals.entropy_bits, entropy, "entropy");
        close(signals.confidence, confidence, "confidence");
        close(signals.margin, margin, "margin");
    }

    fn noise(len: usize, scale: f32, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        (0..len).map(|_| (uniform() + uniform() + uniform()) * scale).collect()
    }

    #[test]
    fn signals_equal_their_definitions() {
        for (seed, len) in
            [1, 2, 3, 7, 15, 16, 17, 1000, 2047, 2048, 2049, 6_000, 151_936].into_iter().enumerate()
        {
            for scale in [0.0, 0.1, 1.0, 10.0, 100.0, 3e4] {
                agrees(&noise(len, scale, seed as u64));
            }
        }
    }

    #[test]
    fn signals_hold_for_extreme_logits() {
        agrees(&[5.0]);
        agrees(&[-1e30]);
        agrees(&[f32::MAX, f32::MIN, 0.0]);
        agrees(&[f32::NEG_INFINITY, 3.0, f32::NEG_INFINITY, 2.0]);
        agrees(&[1e4, 1e4, 1e4 - 1.0]);
        let mut ascending: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
        agrees(&ascending);
        ascending.reverse();
        agrees(&ascending);
        let mut mostly_impossible = vec![f32::NEG_INFINITY; 9_000];
        mostly_impossible[8_000] = -4.0;
        mostly_impossible[8_500] = -4.5;
        agrees(&mostly_impossible);
    }

    #[test]
    fn the_first_of_equal_tokens_wins() {
        for (first, second) in [(0, 1), (3, 5_000), (2047, 2048), (16, 32)] {
            let mut logits = vec![0.0; 6_000];
            logits[first] = 2.0;
            logits[second] = 2.0;
            let Best { token, second: other, signals } = read(&logits).unwrap();
            assert_eq!((token, argmax(&logits).unwrap()), (first as Token, first as Token));
            assert_eq!(other, Some(second as Token));
            assert_eq!(signals.margin, 0.0);
        }
    }

    #[test]
    fn broken_logits_are_errors_and_never_token_zero() {
        for at in [0, 15, 16, 2_100, 4_999] {
            let mut logits = vec![1.0; 5_000];
            logits[at] = f32::NAN;
            assert!(matches!(read(&logits), Err(LogitsError::NotANumber)), "NaN at {at}");
            assert!(matches!(argmax(&logits), Err(LogitsError::NotANumber)), "NaN at {at}");
            logits[at] = f32::INFINITY;
            assert!(matches!(read(&logits), Err(LogitsError::NotANumber)), "infinity at {at}");
            assert!(matches!(argmax(&logits), Err(LogitsError::NotANumber)), "infinity at {at}");
        }
        assert!(matches!(read(&[f32::NEG_INFINITY; 100]), Err(LogitsError::AllImpossible)));
        assert!(matches!(argmax(&[f32::NEG_INFINITY; 100]), Err(LogitsError::AllImpossible)));
        assert!(matches!(read(&[]), Err(LogitsError::Empty)));
    }
}
