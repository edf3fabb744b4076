//! Every combination of settings against its definition, and what must hold at the edges.

use super::*;
use crate::sampling::Randomness;

fn noise(len: usize, scale: f64, seed: u64) -> Vec<f32> {
    let mut randomness = Randomness::new(seed);
    // Rounded, so that ties are frequent.
    (0..len).map(|_| ((randomness.uniform() - 0.5) * scale * 8.0).round() as f32 / 8.0).collect()
}

/// The same settings in f64, by sorting everything.
fn reference(settings: &SamplingSettings, logits: &[f32], context: &[Token]) -> Vec<f64> {
    let mut logits: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
    let window =
        if settings.repetition_window == 0 { context.len() } else { settings.repetition_window };
    let recent = &context[context.len() - window.min(context.len())..];
    for (token, logit) in logits.iter_mut().enumerate() {
        if recent.contains(&(token as Token)) {
            let penalty = f64::from(settings.repetition_penalty);
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap().then(a.cmp(&b)));
    if settings.top_k > 0 {
        order.truncate(settings.top_k);
    }
    let most = logits[order[0]];
    let weight = |token: usize| ((logits[token] - most) / f64::from(settings.temperature)).exp();
    let total: f64 = order.iter().map(|&token| weight(token)).sum();
    let mut mass = 0.0;
    let mut kept = Vec::new();
    for token in order {
        if weight(token) >= f64::from(settings.min_p) {
            kept.push(token);
        }
        mass += weight(token);
        if settings.top_p < 1.0 && mass >= f64::from(settings.top_p) * total {
            break;
        }
    }
    let total: f64 = kept.iter().map(|&token| weight(token)).sum();
    let mut probabilities = vec![0.0; logits.len()];
    kept.into_iter().for_each(|token| probabilities[token] = weight(token) / total);
    probabilities
}

#[test]
fn every_combination_of_settings_equals_its_definition() {
    let mut chain_memory = Distribution::new();
    for (seed, len) in [1, 2, 5, 64, 65, 700, 5_000].into_iter().enumerate() {
        for top_k in [0, 1, 3, 40, 100_000] {
            for top_p in [1.0, 0.97, 0.5, 0.013] {
                for min_p in [0.0, 0.07, 1.0] {
                    for (temperature, penalty, window) in
                        [(1.0, 1.0, 0), (0.3, 1.37, 3), (2.7, 0.83, 0)]
                    {
                        let settings = SamplingSettings {
                            temperature,
                            top_k,
                            top_p,
                            min_p,
                            repetition_penalty: penalty,
                            repetition_window: window,
                            ..SamplingSettings::default()
                        };
                        let logits = noise(len, 9.0, seed as u64);
                        let context: Vec<Token> =
                            [1, 4, 0, 4, 2].into_iter().map(|token| token % len as Token).collect();
                        let expected = reference(&settings, &logits, &context);
                        let mut chain = Chain::new(settings.clone()).unwrap();
                        chain.fill(&logits, &context, &mut chain_memory).unwrap();
                        for (token, &expected) in expected.iter().enumerate() {
                            let got = f64::from(chain_memory.probability(token as Token));
                            assert!(
                                (got - expected).abs() < 3e-6,
                                "token {token} of {len}: {got} instead of {expected}, \
                                 {settings:?}"
                            );
                            assert_eq!(
                                got > 0.0,
                                expected > 1e-37,
                                "token {token} of {len}, {settings:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn of_equal_tokens_the_smaller_number_is_kept() {
    let settings = SamplingSettings { temperature: 1.0, top_k: 3, ..SamplingSettings::default() };
    let mut distribution = Distribution::new();
    Chain::new(settings.clone()).unwrap().fill(&[1.0; 500], &[], &mut distribution).unwrap();
    assert_eq!(distribution.iter().map(|(token, _)| token).collect::<Vec<_>>(), [0, 1, 2]);
    let settings = SamplingSettings { top_k: 0, top_p: 0.5, ..settings };
    Chain::new(settings).unwrap().fill(&[1.0; 4], &[], &mut distribution).unwrap();
    assert_eq!(distribution.iter().map(|(token, _)| token).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_tiny_temperature_is_nearly_greedy_and_never_empty() {
    for temperature in [f32::MIN_POSITIVE, 1e-40, 1e-6] {
        let settings = SamplingSettings { temperature, top_p: 0.9, ..SamplingSettings::default() };
        let mut distribution = Distribution::new();
        Chain::new(settings)
            .unwrap()
            .fill(&[1.0, 2.0, f32::NEG_INFINITY, 1.5], &[], &mut distribution)
            .unwrap();
        assert_eq!(distribution.iter().collect::<Vec<_>>(), [(1, 1.0)]);
    }
}

#[test]
fn impossible_tokens_stay_impossible() {
    for (top_k, top_p) in [(0, 1.0), (5, 1.0), (0, 0.99)] {
        let settings =
            SamplingSettings { temperature: 5.0, top_k, top_p, ..SamplingSettings::default() };
        let mut logits = vec![f32::NEG_INFINITY; 300];
        (logits[7], logits[200]) = (-3.0, 4.0);
        let mut distribution = Distribution::new();
        Chain::new(settings).unwrap().fill(&logits, &[], &mut distribution).unwrap();
        assert_eq!(
            distribution
                .iter()
                .filter(|(_, p)| *p > 0.0)
                .map(|(token, _)| token)
                .collect::<Vec<_>>(),
            [7, 200]
        );
    }
}

#[test]
fn broken_logits_are_errors() {
    let settings = SamplingSettings { temperature: 1.0, ..SamplingSettings::default() };
    let mut chain = Chain::new(settings).unwrap();
    let mut distribution = Distribution::new();
    assert_eq!(chain.fill(&[0.0, f32::NAN], &[], &mut distribution), Err(LogitsError::NotANumber));
    assert_eq!(
        chain.fill(&[f32::NEG_INFINITY; 3], &[], &mut distribution),
        Err(LogitsError::AllImpossible)
    );
    assert_eq!(chain.fill(&[], &[], &mut distribution), Err(LogitsError::Empty));
}
