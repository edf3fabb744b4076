//! Forecast against observation.

use serde::Serialize;

use super::super::{
    data::{GAMMAS, PaperData, Step},
    models::{Kind, Regressor, RidgeError},
    policies::{forecast, rule},
    split::Split,
    tables::{Fitted, examples},
};
use crate::statistics::mean;

/// Tokens per step at one gamma, over the test rows, by MLP-16 fitted to the training rows alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ByGamma {
    /// Tokens that a step drafts.
    pub gamma: usize,
    /// Forecast over all test rows as if they had been drafted with this gamma: what a table of
    /// policies is made of.
    pub forecast: f64,
    /// Forecast over the test rows that were drafted with it.
    pub forecast_where_logged: f64,
    /// What those rows made.
    pub observed: f64,
    /// How many they are.
    pub rows: usize,
}

/// Forecast tokens per step by models of several seeds, everything else as published.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedSpread {
    /// The seeds.
    pub seeds: Vec<u32>,
    /// SpecKV-fast's forecast, in their order.
    pub speckv_fast: Vec<f64>,
    /// The forecast of always drafting 8.
    pub fixed_8: Vec<f64>,
}

fn means(steps: &[&Step], f: impl Fn(&Step) -> f64) -> f64 {
    mean(&steps.iter().map(|step| f(step)).collect::<Vec<_>>()).unwrap_or(f64::NAN)
}

fn test_rows<'a>(data: &'a PaperData, split: &Split) -> Vec<&'a Step> {
    split.test.iter().map(|&row| &data.steps[row]).collect()
}

/// Forecast and observation at every gamma.
#[must_use]
pub fn by_gamma(data: &PaperData, split: &Split, fitted: &Fitted) -> Vec<ByGamma> {
    let fast = Kind::ALL.iter().position(|kind| *kind == Kind::Mlp16).unwrap_or_default();
    let model = &*fitted.held_out[fast];
    let steps = test_rows(data, split);
    let of = |gamma: usize| {
        let logged: Vec<&Step> = steps.iter().copied().filter(|step| step.gamma == gamma).collect();
        ByGamma {
            gamma,
            forecast: means(&steps, |step| forecast(model, step, gamma)),
            forecast_where_logged: means(&logged, |step| forecast(model, step, gamma)),
            observed: means(&logged, |step| step.tokens as f64),
            rows: logged.len(),
        }
    };
    GAMMAS.map(of).to_vec()
}

/// How often the published rule chose each gamma on the test rows, and its forecast above that of
/// always 8, in percent.
#[must_use]
pub fn choices(data: &PaperData, split: &Split, fitted: &Fitted) -> (Vec<usize>, f64) {
    let steps = test_rows(data, split);
    let model = &*fitted.fast;
    let chosen = |gamma: usize| steps.iter().filter(|step| rule(model, step) == gamma).count();
    let (fast, fixed) = both(model, &steps);
    (GAMMAS.map(chosen).to_vec(), 100.0 * (fast / fixed - 1.0))
}

/// Forecasts of the rule and of always 8.
fn both(model: &dyn Regressor, steps: &[&Step]) -> (f64, f64) {
    (
        means(steps, |step| forecast(model, step, rule(model, step))),
        means(steps, |step| forecast(model, step, GAMMAS[3])),
    )
}

/// The published forecast with the given seed and ten others.
///
/// # Errors
/// Features that determine no weights.
pub fn seeds(data: &PaperData, split: &Split, seed: u32) -> Result<SeedSpread, RidgeError> {
    let all: Vec<usize> = (0..data.steps.len()).collect();
    let (x, y) = examples(&data.steps, &all);
    let steps = test_rows(data, split);
    let seeds: Vec<u32> =
        std::iter::once(seed).chain((0..).filter(|other| *other != seed).take(10)).collect();
    let mut spread = SeedSpread { seeds, speckv_fast: Vec::new(), fixed_8: Vec::new() };
    for &seed in &spread.seeds {
        let (fast, fixed) = both(&*Kind::Mlp16.fit(&x, &y, seed)?, &steps);
        spread.speckv_fast.push(fast);
        spread.fixed_8.push(fixed);
    }
    Ok(spread)
}
