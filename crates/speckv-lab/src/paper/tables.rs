//! The paper's tables 1 to 3, its intervals and its test, computed from its data.

use serde::Serialize;

use super::{
    data::{Compression, FEATURE_NAMES, PaperData, Step, Task},
    models::{Features, Forest, ForestSettings, Kind, Regressor, RidgeError},
    policies::{Hindsight, Models, Policy},
    published::Published,
    split::Split,
};
use crate::statistics::{
    Interval, MersenneTwister, PairedTest, correlation, mean, mean_interval, mean_squared_error,
    paired_bootstrap,
};

/// Resamples of the paper's intervals.
pub const INTERVAL_RESAMPLES: usize = 5_000;
/// Resamples of the paper's paired test.
pub const TEST_RESAMPLES: usize = 10_000;

/// A figure beside what was published.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Beside {
    /// From this program.
    pub ours: f64,
    /// From the paper, if it has one.
    pub published: Option<f64>,
}

/// Table 3: how well a predictor predicts rows that it was not fitted to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PredictorRow {
    /// Which.
    pub kind: Kind,
    /// Correlation of prediction and acceptance rate.
    pub correlation: Beside,
    /// Mean squared error.
    pub mse: Beside,
}

/// A row of table 1: forecast tokens per step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyRow {
    /// Under which compression; none is all.
    pub compression: Option<Compression>,
    /// In the order of [`Policy::ALL`].
    pub tokens_per_step: Vec<Beside>,
}

/// A row of table 2.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskRow {
    /// Under which compression.
    pub compression: Compression,
    /// On which task.
    pub task: Task,
    /// Forecast tokens per step of Fixed-4.
    pub fixed_4: Beside,
    /// Of SpecKV-fast.
    pub speckv: Beside,
    /// By how much the second is above the first, in percent.
    pub improvement_percent: Beside,
}

/// An interval beside the published one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct IntervalRow {
    /// Whose.
    pub policy: Policy,
    /// From this program.
    pub ours: Interval,
    /// From the paper.
    pub published: Option<Interval>,
}

/// Where the test rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SplitFacts {
    /// Rows that models were fitted to.
    pub train: usize,
    /// Test rows.
    pub test: usize,
    /// The folder has the rows that the paper tested on, and they are used.
    pub published: bool,
    /// The seeded split draws these rows, so that their order in training is known too.
    pub drawn_by_seed: bool,
}

/// The reproduction. Everything about policies is a **forecast** of the models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reproduction {
    /// Seed of split, weights, orders and resamples.
    pub seed: u32,
    /// Who was fitted to what.
    pub split: SplitFacts,
    /// Table 3.
    pub predictors: Vec<PredictorRow>,
    /// Table 1.
    pub policies: Vec<PolicyRow>,
    /// Table 2.
    pub tasks: Vec<TaskRow>,
    /// Intervals of table 1's last row.
    pub intervals: Vec<IntervalRow>,
    /// SpecKV-fast above Fixed-4, in percent.
    pub improvement_percent: Beside,
    /// SpecKV-fast against Fixed-4, row by row.
    pub paired_test: PairedTest,
    /// The paper's mean difference and p.
    pub published_test: Option<[f64; 2]>,
    /// Share of the squared error that splits on a feature removed, in the forest of a hundred
    /// trees.
    pub importance: Vec<(&'static str, Beside)>,
    /// Gammas of the task oracle that differ from the published ones.
    pub optimal_gammas_that_differ: usize,
}

/// Models fitted as the paper fitted them.
pub struct Fitted {
    /// Fitted to the training rows, in the order of [`Kind::ALL`].
    pub held_out: Vec<Box<dyn Regressor>>,
    /// MLP-16 refitted to all rows, for the policies.
    pub fast: Box<dyn Regressor>,
    /// RF-100 refitted to all rows, for the policies.
    pub accurate: Box<dyn Regressor>,
    importance: [f64; 6],
}

/// Features as logged and acceptance rates of some rows, in their order.
#[must_use]
pub fn examples(steps: &[Step], rows: &[usize]) -> (Vec<Features>, Vec<f64>) {
    rows.iter()
        .map(|&row| (steps[row].features(steps[row].gamma), steps[row].acceptance_rate))
        .unzip()
}

/// Predictions for rows as logged.
#[must_use]
pub fn predictions(model: &dyn Regressor, steps: &[Step], rows: &[usize]) -> Vec<f64> {
    rows.iter().map(|&row| model.acceptance_rate(&steps[row].features(steps[row].gamma))).collect()
}

/// The split: the published test rows where there are any, else drawn by the seed. If the seed
/// draws the published rows, the order in which the paper's models saw the others is known and
/// used.
#[must_use]
pub fn split(data: &PaperData, seed: u32) -> (Split, SplitFacts) {
    // Strata by name, as sorted text: fp16_chat, fp16_code, ...
    let name = |step: &Step| format!("{}_{}", step.compression, step.task);
    let mut names: Vec<String> = data.steps.iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    let strata: Vec<usize> = data
        .steps
        .iter()
        .map(|step| names.binary_search(&name(step)).unwrap_or_default())
        .collect();
    let drawn = Split::stratified(&strata, seed);
    let published = data.test_rows.is_some();
    let drawn_by_seed = data.test_rows.as_ref().is_none_or(|rows| *rows == drawn.test);
    let split = match &data.test_rows {
        Some(rows) if !drawn_by_seed => Split::given(rows.clone(), data.steps.len()),
        _ => drawn,
    };
    let facts =
        SplitFacts { train: split.train.len(), test: split.test.len(), published, drawn_by_seed };
    (split, facts)
}

/// Fits everything.
///
/// # Errors
/// Features that determine no weights.
pub fn fit(data: &PaperData, split: &Split, seed: u32) -> Result<Fitted, RidgeError> {
    let (x, y) = examples(&data.steps, &split.train);
    let held_out = Kind::ALL.iter().map(|kind| kind.fit(&x, &y, seed)).collect::<Result<_, _>>()?;
    let all: Vec<usize> = (0..data.steps.len()).collect();
    let (x, y) = examples(&data.steps, &all);
    let forest = Forest::fit(&ForestSettings { trees: 100, max_depth: usize::MAX }, &x, &y, seed);
    let importance = forest.importance();
    Ok(Fitted {
        held_out,
        fast: Kind::Mlp16.fit(&x, &y, seed)?,
        accurate: Box::new(forest),
        importance,
    })
}

/// All tables.
#[must_use]
pub fn reproduce(
    data: &PaperData,
    published: &Published,
    fitted: &Fitted,
    (split, facts): (&Split, SplitFacts),
    seed: u32,
) -> Reproduction {
    let steps: Vec<&Step> = split.test.iter().map(|&row| &data.steps[row]).collect();
    let hindsight = Hindsight::of(data);
    let models = Models { fast: &*fitted.fast, accurate: &*fitted.accurate };
    let forecasts = Policy::ALL.map(|policy| {
        steps.iter().map(|step| policy.forecast(&models, &hindsight, step)).collect::<Vec<f64>>()
    });
    let [fixed_4, .., fast, _] = &forecasts;
    let mean_of = |values: &[f64], wanted: &dyn Fn(&Step) -> bool| {
        let chosen: Vec<f64> = values
            .iter()
            .zip(&steps)
            .filter(|(_, step)| wanted(step))
            .map(|(value, _)| *value)
            .collect();
        mean(&chosen).unwrap_or(f64::NAN)
    };
    let above = |a: f64, b: f64| 100.0 * (a / b - 1.0);
    let numbers = published.numbers.as_ref();
    let compressions = Compression::ALL.iter().map(|&compression| Some(compression)).chain([None]);
    let policies = compressions.map(|compression| {
        let says = published.table1.iter().find(|row| row.0 == compression).map(|row| row.1);
        let wanted =
            |step: &Step| compression.is_none_or(|compression| step.compression == compression);
        let values = forecasts.iter().enumerate();
        let beside = values.map(|(at, values)| Beside {
            ours: mean_of(values, &wanted),
            published: says.map(|values| values[at]),
        });
        PolicyRow { compression, tokens_per_step: beside.collect() }
    });
    let cells = Compression::ALL
        .iter()
        .flat_map(|&compression| Task::ALL.iter().map(move |&task| (compression, task)));
    let tasks = cells.map(|(compression, task)| {
        let says = published
            .table2
            .iter()
            .find(|row| (row.0, row.1) == (compression, task))
            .map(|row| row.2);
        let wanted = |step: &Step| (step.compression, step.task) == (compression, task);
        let ours = [mean_of(fixed_4, &wanted), mean_of(fast, &wanted)];
        let beside = |ours, at: usize| Beside { ours, published: says.map(|values| values[at]) };
        TaskRow {
            compression,
            task,
            fixed_4: beside(ours[0], 0),
            speckv: beside(ours[1], 1),
            improvement_percent: beside(above(ours[1], ours[0]), 2),
        }
    });
    let mut stream = MersenneTwister::new(seed);
    let intervals = Policy::ALL.iter().zip(&forecasts).filter_map(|(&policy, values)| {
        let ours = mean_interval(values, INTERVAL_RESAMPLES, &mut stream)?;
        let published = published.intervals.iter().find(|row| row.0 == policy).map(|row| row.1);
        Some(IntervalRow { policy, ours, published })
    });
    let intervals = intervals.collect();
    let nothing = PairedTest {
        difference: Interval { value: 0.0, low: 0.0, high: 0.0 },
        p_value: 1.0,
        resamples: 0,
    };
    let differ = published.optimal_gamma.iter();
    Reproduction {
        seed,
        split: facts,
        predictors: predictor_rows(data, split, fitted, published),
        policies: policies.collect(),
        tasks: tasks.collect(),
        intervals,
        improvement_percent: Beside {
            ours: above(mean_of(fast, &|_| true), mean_of(fixed_4, &|_| true)),
            published: numbers.map(|numbers| numbers.results.overall_improvement_pct),
        },
        paired_test: paired_bootstrap(fast, fixed_4, TEST_RESAMPLES, &mut stream)
            .unwrap_or(nothing),
        published_test: numbers
            .map(|numbers| [numbers.statistical_test.mean_diff, numbers.statistical_test.p_value]),
        importance: FEATURE_NAMES
            .iter()
            .zip(fitted.importance)
            .map(|(&name, ours)| {
                let published =
                    numbers.and_then(|numbers| numbers.feature_importance.get(name).copied());
                (name, Beside { ours, published })
            })
            .collect(),
        optimal_gammas_that_differ: differ
            .filter(|(compression, task, gamma)| hindsight.fastest(*compression, *task) != *gamma)
            .count(),
    }
}

fn predictor_rows(
    data: &PaperData,
    split: &Split,
    fitted: &Fitted,
    published: &Published,
) -> Vec<PredictorRow> {
    let truth: Vec<f64> = split.test.iter().map(|&row| data.steps[row].acceptance_rate).collect();
    let says = published.numbers.as_ref().map(|numbers| &numbers.predictor);
    let rows = Kind::ALL.iter().zip(&fitted.held_out);
    rows.map(|(&kind, model)| {
        let predicted = predictions(&**model, &data.steps, &split.test);
        let [corr, mse] = match kind {
            Kind::Mlp16 => {
                [says.map(|says| says.fast_test_corr), says.map(|says| says.fast_test_mse)]
            }
            Kind::Forest100 => [says.map(|says| says.reference_corr), None],
            _ => [None, None],
        };
        PredictorRow {
            kind,
            correlation: Beside {
                ours: correlation(&predicted, &truth).unwrap_or(f64::NAN),
                published: corr,
            },
            mse: Beside {
                ours: mean_squared_error(&predicted, &truth).unwrap_or(f64::NAN),
                published: mse,
            },
        }
    })
    .collect()
}
