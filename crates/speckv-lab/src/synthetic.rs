//! Traces without models: acceptance as a random process with known truth, for testing controllers.
//!
//! Every position of the text has a probability that the draft agrees there, `p = sigmoid(level +
//! wander)`, where `wander` is a slow autoregressive walk (text has easy and hard stretches).
//! Whether it agrees is drawn once per position, so that a proposal that starts anywhere before it
//! has the same outcome. The draft's confidence is `sigmoid(trust * logit(p) + bias + noise)`.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use speckv::{controller::Lookup, predictor::sigmoid, record::Drafted, signals::Signals};

use crate::trace::{Depths, Position, Proposal, Trace};

/// A stretch of text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Regime {
    /// Tokens.
    pub length: usize,
    /// Logit of the acceptance probability at its middle.
    pub level: f32,
    /// Standard deviation of the walk around it, in logits.
    pub wander: f32,
    /// How much of the truth the confidence shows: 1 is calibrated, 0 nothing.
    pub trust: f32,
    /// What the confidence adds to the truth, in logits: above 0 it is overconfident.
    pub bias: f32,
    /// Standard deviation of the confidence's own noise, in logits.
    pub noise: f32,
    /// Probability that look-up finds something, and that what it found agrees, per token.
    pub lookup: (f32, f32),
}

impl Regime {
    /// A stretch with an informative, calibrated draft and no look-up.
    #[must_use]
    pub fn calibrated(length: usize, level: f32) -> Self {
        Regime { length, level, wander: 1.2, trust: 1.0, bias: 0.0, noise: 0.5, lookup: (0.0, 0.0) }
    }
}

/// Depth of the proposals.
pub const DEPTH: usize = 16;
const PROMPT: usize = 64;

/// A trace of some regimes, one after the other.
#[must_use]
pub fn trace(regimes: &[Regime], seed: u64) -> Trace {
    let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
    let mut walk = random.normal();
    let mut ngram_runs = 0;
    let mut truth = Vec::new(); // per position: (regime, p, agrees, look-up agrees or nothing found)
    for regime in regimes {
        for _ in 0..regime.length {
            walk = 0.8 * walk + 0.6 * random.normal();
            let p = sigmoid(regime.level + regime.wander * walk);
            // What look-up finds comes in runs of about a dozen tokens.
            if ngram_runs == 0 && random.uniform() < regime.lookup.0 / 12.0 * 1.5 {
                ngram_runs = 12;
            }
            let found = ngram_runs > 0 && regime.lookup.0 > 0.0;
            ngram_runs -= usize::from(ngram_runs > 0);
            truth.push((
                regime,
                p,
                random.uniform() < p,
                found.then(|| random.uniform() < regime.lookup.1),
            ));
        }
    }
    let tokens: Vec<u32> = (0..truth.len()).map(|_| 1 + random.0.next_u32() % 1000).collect();
    let mut match_length = 0_u16;
    let positions = (0..truth.len())
        .map(|start| {
            let mut model = Proposal::default();
            let mut on_path = true;
            for depth in 0..DEPTH {
                let (regime, mut p, agrees, _) = truth[(start + depth).min(truth.len() - 1)];
                if !on_path {
                    p = sigmoid(regime.level - 1.0 + regime.wander * random.normal()); // its own text: it is less sure of it
                }
                on_path &= agrees && start + depth < truth.len();
                model.agreed += usize::from(on_path);
                let token = if on_path { tokens[start + depth] } else { 0 };
                let score = regime.trust * (p / (1.0 - p)).ln()
                    + regime.bias
                    + regime.noise * random.normal();
                model.drafted.push(Drafted::new(token, signals(sigmoid(score), 0)));
            }
            match_length =
                if truth[start].3 == Some(true) { match_length.saturating_add(1) } else { 0 };
            let ngram = truth[start].3.map(|_| {
                let signals = signals(if match_length > 1 { 0.999 } else { 0.6 }, match_length + 2);
                let mut proposal = Proposal::default();
                let mut on_path = true;
                for depth in 0..DEPTH.min(truth.len() - start) {
                    on_path &= truth[start + depth].3 == Some(true);
                    proposal.agreed += usize::from(on_path);
                    let token = if on_path { tokens[start + depth] } else { 0 };
                    proposal.drafted.push(Drafted::new(token, signals));
                }
                let lookup = Lookup {
                    match_length: usize::from(match_length) + 2,
                    available: proposal.drafted.len(),
                    signals,
                };
                (lookup, proposal)
            });
            Position { model, parallel: Proposal::default(), ngram }
        })
        .collect();
    let max_tokens = tokens.len();
    Trace {
        prompt_id: format!("synthetic-{seed}"),
        task: "synthetic".into(),
        prompt_tokens: PROMPT,
        max_tokens,
        end_tokens: Vec::new(),
        depths: Depths { gamma_max: DEPTH, ngram_max: DEPTH, block_max: 0, gamma_limit: DEPTH },
        tokens,
        positions,
    }
}

/// Signals of a distribution with this confidence and the rest spread over some twenty tokens.
fn signals(confidence: f32, match_length: u16) -> Signals {
    let rest = 1.0 - confidence;
    let entropy = |p: f32| if p > 0.0 { -p * p.log2() } else { 0.0 };
    let entropy_bits = entropy(confidence) + entropy(rest) + rest * 20.0_f32.log2();
    Signals { entropy_bits, confidence, margin: (confidence - 0.5 * rest).max(0.0), match_length }
}

struct Random(ChaCha8Rng);

impl Random {
    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }
}
