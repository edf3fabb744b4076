//! The paper's own data evaluated in seconds, with models that were trained without the test
//! prompts, and by what was observed.
//!
//! [`costs`]: what a step took · [`unseen`]: models that never saw a row's prompt · [`speeds`]: the policies in tokens per second, forecast and observed
//! kept apart · [`bias`]: forecast against observation, and how far a seed moves the forecast.

pub mod bias;
pub mod costs;
pub mod speeds;
pub mod unseen;

use serde::Serialize;

use self::{
    bias::{ByGamma, SeedSpread},
    costs::CostRow,
    speeds::SpeedRow,
    unseen::{Generalisation, Unseen},
};
use super::{data::PaperData, models::RidgeError, split::Split, tables::Fitted};

/// All results of the audit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// What a step took, measured.
    pub costs: Vec<CostRow>,
    /// Tokens per second, by compression and policy.
    pub speeds: Vec<SpeedRow>,
    /// How often SpecKV-fast chose each gamma on the test rows, models refitted on all rows; in the
    /// order of the gammas.
    pub choices: Vec<usize>,
    /// SpecKV-fast's forecast above that of always drafting 8, in percent.
    pub above_fixed_8_percent: f64,
    /// Forecast and observation by gamma.
    pub by_gamma: Vec<ByGamma>,
    /// The forecast of gamma 8 above what steps of gamma 8 made, in percent.
    pub optimism_percent: f64,
    /// Predictors on rows, on prompts and in time.
    pub generalisation: Vec<Generalisation>,
    /// How far the seed alone moves the published forecast.
    pub seeds: SeedSpread,
}

/// Asks everything.
///
/// # Errors
/// Features that determine no weights.
pub fn audit(
    data: &PaperData,
    split: &Split,
    fitted: &Fitted,
    seed: u32,
) -> Result<Audit, RidgeError> {
    let costs = costs::Costs::of(data);
    let unseen = Unseen::fit(data, seed)?;
    let by_gamma = bias::by_gamma(data, split, fitted);
    let optimism =
        by_gamma.last().map_or(0.0, |last| 100.0 * (last.forecast / last.observed - 1.0));
    let (choices, above_fixed_8_percent) = bias::choices(data, split, fitted);
    Ok(Audit {
        speeds: speeds::speeds(data, split, fitted, &unseen, &costs),
        costs: costs.rows(),
        choices,
        above_fixed_8_percent,
        by_gamma,
        optimism_percent: optimism,
        generalisation: unseen.generalisation(data, split, fitted),
        seeds: bias::seeds(data, split, seed)?,
    })
}
