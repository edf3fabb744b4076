//! Models that were trained without the prompts that they are tested on.
//!
//! The paper splits *rows*. Under greedy decoding the same prompt under another gamma or
//! compression passes through nearly the same text, so a row's neighbours are in the training set,
//! and a forest that grows until its leaves are pure can look them up. Holding out whole prompts
//! measures what the predictor does on new texts.

use serde::Serialize;

use super::super::{
    data::{PaperData, Step},
    models::{Kind, Regressor, RidgeError},
    split::Split,
    tables::{Fitted, examples, predictions},
};
use crate::statistics::{correlation, mean_squared_error};

/// The kinds that are evaluated.
pub const KINDS: [Kind; 3] = [Kind::Ridge, Kind::Mlp16, Kind::Forest100];

/// How well a kind predicts, the harder the question the further down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Generalisation {
    /// Which.
    pub kind: Kind,
    /// Correlation on the test rows, whose prompts were trained on: the paper's question.
    pub held_out_rows: f64,
    /// Correlation over all rows, each predicted by a model that never saw its prompt.
    pub held_out_prompts: f64,
    /// Mean squared error of that.
    pub held_out_prompts_mse: f64,
    /// The same with the signals of the step before, which are all that is known when gamma is
    /// chosen; first steps are left out.
    pub step_before: f64,
}

/// For each kind of [`KINDS`], one model per prompt number, fitted without the prompts of that
/// number.
pub struct Unseen {
    models: Vec<Vec<Box<dyn Regressor>>>,      // [kinds, folds]
    step_before: Vec<Vec<Box<dyn Regressor>>>, // [kinds, folds]
    fold: Vec<usize>,                          // [steps]
    before: Vec<Option<Step>>, // [steps]: the step with the signals of the one before
}

impl Unseen {
    /// Fits one model per fold and kind.
    ///
    /// # Errors
    /// Features that determine no weights.
    pub fn fit(data: &PaperData, seed: u32) -> Result<Self, RidgeError> {
        let fold_of_run: Vec<usize> =
            (0..data.runs.len()).map(|run| data.prompt_number(run)).collect();
        let fold: Vec<usize> = data.steps.iter().map(|step| fold_of_run[step.run]).collect();
        let before: Vec<Option<Step>> =
            (0..data.steps.len()).map(|row| with_signals_before(&data.steps, row)).collect();
        let folds = fold.iter().max().map_or(0, |most| most + 1);
        let lagged: Vec<Step> = before.iter().map(|step| step.unwrap_or(data.steps[0])).collect();
        let fit = |kind: Kind, steps: &[Step], usable: &dyn Fn(usize) -> bool| {
            (0..folds)
                .map(|out| {
                    let rows: Vec<usize> =
                        (0..steps.len()).filter(|&row| fold[row] != out && usable(row)).collect();
                    let (x, y) = examples(steps, &rows);
                    kind.fit(&x, &y, seed)
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let models = KINDS
            .iter()
            .map(|&kind| fit(kind, &data.steps, &|_| true))
            .collect::<Result<_, _>>()?;
        let step_before = KINDS
            .iter()
            .map(|&kind| fit(kind, &lagged, &|row| before[row].is_some()))
            .collect::<Result<_, _>>()?;
        Ok(Unseen { models, step_before, fold, before })
    }

    /// The model of a kind that never saw the prompt of a row.
    ///
    /// # Panics
    /// For a kind that is not in [`KINDS`].
    #[must_use]
    pub fn model(&self, kind: Kind, row: usize) -> &dyn Regressor {
        let at = KINDS.iter().position(|other| *other == kind).expect("a kind that is asked");
        &*self.models[at][self.fold[row]]
    }

    /// The comparison.
    #[must_use]
    pub fn generalisation(
        &self,
        data: &PaperData,
        split: &Split,
        fitted: &Fitted,
    ) -> Vec<Generalisation> {
        let truth = |rows: &[usize]| {
            rows.iter().map(|&row| data.steps[row].acceptance_rate).collect::<Vec<f64>>()
        };
        let all: Vec<usize> = (0..data.steps.len()).collect();
        let late: Vec<usize> =
            all.iter().copied().filter(|&row| self.before[row].is_some()).collect();
        let agree = |p: &[f64], rows: &[usize]| correlation(p, &truth(rows)).unwrap_or(f64::NAN);
        let kinds = KINDS.iter().enumerate();
        kinds
            .map(|(at, &kind)| {
                let fit = Kind::ALL.iter().position(|other| *other == kind).unwrap_or_default();
                let rows = predictions(&*fitted.held_out[fit], &data.steps, &split.test);
                let unseen = |row: usize, step: &Step, models: &[Vec<Box<dyn Regressor>>]| {
                    models[at][self.fold[row]].acceptance_rate(&step.features(step.gamma))
                };
                let prompts: Vec<f64> =
                    all.iter().map(|&row| unseen(row, &data.steps[row], &self.models)).collect();
                let before: Vec<f64> = late
                    .iter()
                    .filter_map(|&row| {
                        Some(unseen(row, self.before[row].as_ref()?, &self.step_before))
                    })
                    .collect();
                Generalisation {
                    kind,
                    held_out_rows: agree(&rows, &split.test),
                    held_out_prompts: agree(&prompts, &all),
                    held_out_prompts_mse: mean_squared_error(&prompts, &truth(&all))
                        .unwrap_or(f64::NAN),
                    step_before: agree(&before, &late),
                }
            })
            .collect()
    }
}

/// A step with the signals of the step before it, and its own outcome; `None` for a run's first.
fn with_signals_before(steps: &[Step], row: usize) -> Option<Step> {
    let (step, before) = (steps[row], steps[row.checked_sub(1)?]);
    (step.step > 0).then_some(Step {
        mean_entropy_bits: before.mean_entropy_bits,
        mean_confidence: before.mean_confidence,
        max_entropy_bits: before.max_entropy_bits,
        min_confidence: before.min_confidence,
        ..step
    })
}
