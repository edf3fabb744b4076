//! The policies in tokens per second, by the data's own measured costs.

use serde::Serialize;

use super::{
    super::{
        data::{Compression, GAMMAS, PaperData, Step},
        models::{Kind, Regressor},
        policies::{Hindsight, Models, Policy, argmax, forecast, rule},
        split::Split,
        tables::Fitted,
    },
    costs::Costs,
    unseen::Unseen,
};

/// One policy under one compression.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpeedRow {
    /// How the target is stored.
    pub compression: Compression,
    /// Which policy; `best fixed` is the fixed gamma with the highest measured speed, known in
    /// hindsight.
    pub policy: String,
    /// Mean gamma that it chooses, over the rows of the observation.
    pub mean_gamma: f64,
    /// Tokens per second as the paper would forecast them: models refitted on all rows, evaluated
    /// on the test rows, divided by measured seconds.
    pub forecast_refitted: f64,
    /// The same forecast by models that never saw the row's prompt, over all rows.
    pub forecast_unseen: f64,
    /// Tokens per second that was observed where the logged gamma is the one that the policy (by
    /// models that never saw the prompt) chooses.
    pub observed: f64,
    /// Rows of that observation.
    pub observed_rows: usize,
}

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Fixed(usize),
    BestFixed,
    Published(Policy),
    CostAware,
}

/// Every fixed gamma, the best of them, the paper's policies and the cost-aware rule, under every
/// compression.
#[must_use]
pub fn speeds(
    data: &PaperData,
    split: &Split,
    fitted: &Fitted,
    unseen: &Unseen,
    costs: &Costs,
) -> Vec<SpeedRow> {
    let hindsight = Hindsight::of(data);
    let refitted = |_: usize| Models { fast: &*fitted.fast, accurate: &*fitted.accurate };
    let fresh = |row: usize| Models {
        fast: unseen.model(Kind::Mlp16, row),
        accurate: unseen.model(Kind::Forest100, row),
    };
    let mut who: Vec<Who> = GAMMAS.map(Who::Fixed).to_vec();
    who.extend([Who::BestFixed, Who::Published(Policy::TaskOracle), Who::Published(Policy::Fast)]);
    who.extend([Who::Published(Policy::Accurate), Who::CostAware]);
    let mut rows = Vec::new();
    for &compression in Compression::ALL {
        let all: Vec<usize> = (0..data.steps.len())
            .filter(|&row| data.steps[row].compression == compression)
            .collect();
        let test: Vec<usize> = split
            .test
            .iter()
            .copied()
            .filter(|row| data.steps[*row].compression == compression)
            .collect();
        let scene = Scene { steps: &data.steps, hindsight: &hindsight, costs, compression };
        let best = argmax(|gamma| scene.observed(&all, &|_| gamma).0);
        for &who in &who {
            let (a, b) = (
                scene.choices(who, best, &test, &refitted),
                scene.choices(who, best, &all, &fresh),
            );
            let chosen = |row: usize| b[all.binary_search(&row).unwrap_or_default()];
            let (observed, observed_rows) = scene.observed(&all, &chosen);
            rows.push(SpeedRow {
                compression,
                policy: who.name(best),
                mean_gamma: b.iter().sum::<usize>() as f64 / b.len().max(1) as f64,
                forecast_refitted: scene.forecast(who, &test, &a, &refitted),
                forecast_unseen: scene.forecast(who, &all, &b, &fresh),
                observed,
                observed_rows,
            });
        }
    }
    rows
}

impl Who {
    fn name(self, best: usize) -> String {
        match self {
            Who::Fixed(gamma) => format!("Fixed-{gamma}"),
            Who::BestFixed => format!("best fixed ({best})"),
            Who::Published(policy) => policy.name().into(),
            Who::CostAware => "cost-aware".into(),
        }
    }

    /// Whose forecast counts.
    fn model<'a>(self, models: Models<'a>) -> &'a dyn Regressor {
        if self == Who::Published(Policy::Accurate) { models.accurate } else { models.fast }
    }
}

/// One compression's rows with what they cost.
struct Scene<'a> {
    steps: &'a [Step],
    hindsight: &'a Hindsight,
    costs: &'a Costs,
    compression: Compression,
}

impl<'a> Scene<'a> {
    fn seconds(&self, gamma: usize) -> f64 {
        self.costs.seconds(self.compression, gamma)
    }

    /// The gamma at each of `rows`.
    fn choices(
        &self,
        who: Who,
        best: usize,
        rows: &[usize],
        models: &dyn Fn(usize) -> Models<'a>,
    ) -> Vec<usize> {
        let each = |f: &dyn Fn(usize, &Step) -> usize| {
            rows.iter().map(|&row| f(row, &self.steps[row])).collect()
        };
        match who {
            Who::Fixed(gamma) => vec![gamma; rows.len()],
            Who::BestFixed => vec![best; rows.len()],
            Who::Published(Policy::Fast) => each(&|row, step| rule(models(row).fast, step)),
            Who::Published(policy) => {
                each(&|row, step| policy.gamma(&models(row), self.hindsight, step))
            }
            Who::CostAware => self.cost_aware(rows, models),
        }
    }

    /// `argmax over gamma of E[tokens] - L seconds`, with L the throughput that this choice has by
    /// its own forecast: the fixed point of the renewal-reward rule (Dinkelbach 1967). Starting
    /// below the optimum, L only rises; gammas are few, so it stands still after a few rounds.
    fn cost_aware(&self, rows: &[usize], models: &dyn Fn(usize) -> Models<'a>) -> Vec<usize> {
        let expected: Vec<[f64; GAMMAS.len()]> = rows
            .iter()
            .map(|&row| {
                let model = models(row).fast;
                GAMMAS.map(|gamma| forecast(model, &self.steps[row], gamma))
            })
            .collect();
        let mut choices = vec![0; rows.len()]; // places in GAMMAS
        loop {
            let total = |f: &dyn Fn(usize) -> f64| (0..rows.len()).map(f).sum::<f64>();
            let throughput = total(&|at| expected[at][choices[at]])
                / total(&|at| self.seconds(GAMMAS[choices[at]])).max(f64::MIN_POSITIVE);
            let worth = |at: usize, place: usize| {
                expected[at][place] - throughput * self.seconds(GAMMAS[place])
            };
            let better: Vec<usize> = (0..rows.len())
                .map(|at| {
                    (0..GAMMAS.len()).fold(0, |best, place| {
                        if worth(at, place) > worth(at, best) { place } else { best }
                    })
                })
                .collect();
            if better == choices {
                return choices.into_iter().map(|place| GAMMAS[place]).collect();
            }
            choices = better;
        }
    }

    /// Forecast tokens by measured seconds.
    fn forecast(
        &self,
        who: Who,
        rows: &[usize],
        choices: &[usize],
        models: &dyn Fn(usize) -> Models<'a>,
    ) -> f64 {
        let (mut tokens, mut seconds) = (0.0, 0.0);
        for (&row, &gamma) in rows.iter().zip(choices) {
            tokens += forecast(who.model(models(row)), &self.steps[row], gamma);
            seconds += self.seconds(gamma);
        }
        tokens / seconds
    }

    /// Tokens that were made by seconds measured, over the rows that were logged under the gamma
    /// that is chosen there. Short gammas take more steps over the same text and so log more rows:
    /// each row counts by the inverse of its gamma's share.
    fn observed(&self, rows: &[usize], chosen: &dyn Fn(usize) -> usize) -> (f64, usize) {
        let logged = |gamma: usize| {
            rows.iter().filter(|row| self.steps[**row].gamma == gamma).count() as f64
        };
        let counts = GAMMAS.map(logged);
        let (mut tokens, mut seconds, mut matched) = (0.0, 0.0, 0);
        for &row in rows {
            let step = &self.steps[row];
            if chosen(row) == step.gamma {
                let place =
                    GAMMAS.iter().position(|gamma| *gamma == step.gamma).unwrap_or_default();
                tokens += step.tokens as f64 / counts[place];
                seconds += self.seconds(step.gamma) / counts[place];
                matched += 1;
            }
        }
        (tokens / seconds, matched)
    }
}
