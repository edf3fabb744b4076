//! The paper's policies and its forecasts of their tokens per step.

use serde::Serialize;

use super::{
    data::{Compression, GAMMAS, PaperData, Step, Task},
    models::Regressor,
};

/// Who decides gamma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Policy {
    /// Always 4.
    #[serde(rename = "Fixed-4")]
    Fixed4,
    /// For each compression the gamma with most tokens per step.
    #[serde(rename = "Fixed-best")]
    FixedBest,
    /// For each compression and task the gamma with most tokens per second.
    #[serde(rename = "Task-oracle")]
    TaskOracle,
    /// The rule with the 16-unit perceptron.
    #[serde(rename = "SpecKV-fast")]
    Fast,
    /// The rule with the forest of a hundred trees.
    #[serde(rename = "SpecKV-accurate")]
    Accurate,
}

impl Policy {
    /// All, in the order of the paper's tables.
    pub const ALL: [Policy; 5] =
        [Policy::Fixed4, Policy::FixedBest, Policy::TaskOracle, Policy::Fast, Policy::Accurate];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Policy::Fixed4 => "Fixed-4",
            Policy::FixedBest => "Fixed-best",
            Policy::TaskOracle => "Task-oracle",
            Policy::Fast => "SpecKV-fast",
            Policy::Accurate => "SpecKV-accurate",
        }
    }
}

/// The paper's forecast of a step's tokens: `acceptance_rate(x, gamma) * gamma + 1`.
#[must_use]
pub fn forecast(model: &dyn Regressor, step: &Step, gamma: usize) -> f64 {
    model.acceptance_rate(&step.features(gamma)) * gamma as f64 + 1.0
}

/// The gamma with the most of something, the first of equals.
pub fn argmax(mut worth: impl FnMut(usize) -> f64) -> usize {
    let mut best = (GAMMAS[0], f64::NEG_INFINITY);
    for gamma in GAMMAS {
        let worth = worth(gamma);
        if worth > best.1 {
            best = (gamma, worth);
        }
    }
    best.0
}

/// The paper's rule: the gamma with the largest forecast.
#[must_use]
pub fn rule(model: &dyn Regressor, step: &Step) -> usize {
    argmax(|gamma| forecast(model, step, gamma))
}

/// Gammas that were best in hindsight, over the whole data.
#[derive(Debug, Clone, PartialEq)]
pub struct Hindsight {
    most_tokens: Vec<usize>,  // [compressions]
    fastest: Vec<Vec<usize>>, // [compressions, tasks]
}

impl Hindsight {
    /// Looks at all runs: tokens per step are summed, tokens per second are averaged over prompts,
    /// as the paper did.
    #[must_use]
    pub fn of(data: &PaperData) -> Self {
        let runs = |compression: Compression, gamma: usize, task: Option<Task>| {
            data.runs.iter().filter(move |run| {
                run.compression == compression
                    && run.gamma == gamma
                    && task.is_none_or(|task| run.task == task)
            })
        };
        let per_step = |compression, gamma| {
            let (tokens, steps) = runs(compression, gamma, None)
                .fold((0, 0), |(tokens, steps), run| (tokens + run.tokens, steps + run.steps));
            tokens as f64 / (steps as f64).max(1.0)
        };
        let speed = |compression, gamma, task| {
            let (sum, count) = runs(compression, gamma, Some(task))
                .fold((0.0, 0.0), |(sum, count), run| (sum + run.tokens_per_second, count + 1.0));
            if count > 0.0 { sum / count } else { 0.0 }
        };
        let of_tasks = |&compression: &Compression| {
            Task::ALL.iter().map(|&task| argmax(|gamma| speed(compression, gamma, task))).collect()
        };
        Hindsight {
            most_tokens: Compression::ALL
                .iter()
                .map(|&compression| argmax(|gamma| per_step(compression, gamma)))
                .collect(),
            fastest: Compression::ALL.iter().map(of_tasks).collect(),
        }
    }

    /// Fixed-best's gamma.
    #[must_use]
    pub fn most_tokens(&self, compression: Compression) -> usize {
        self.most_tokens[compression as usize]
    }

    /// Task-oracle's gamma.
    #[must_use]
    pub fn fastest(&self, compression: Compression, task: Task) -> usize {
        self.fastest[compression as usize][task as usize]
    }
}

/// The models behind the policies.
#[derive(Clone, Copy)]
pub struct Models<'a> {
    /// The 16-unit perceptron: it forecasts for every policy but SpecKV-accurate.
    pub fast: &'a dyn Regressor,
    /// The forest.
    pub accurate: &'a dyn Regressor,
}

impl Policy {
    /// The gamma that it chooses at a step.
    #[must_use]
    pub fn gamma(self, models: &Models<'_>, hindsight: &Hindsight, step: &Step) -> usize {
        match self {
            Policy::Fixed4 => 4,
            Policy::FixedBest => hindsight.most_tokens(step.compression),
            Policy::TaskOracle => hindsight.fastest(step.compression, step.task),
            Policy::Fast => rule(models.fast, step),
            Policy::Accurate => rule(models.accurate, step),
        }
    }

    /// What the paper's tables say of it at a step: its own model's forecast, the perceptron's
    /// where it has none.
    #[must_use]
    pub fn forecast(self, models: &Models<'_>, hindsight: &Hindsight, step: &Step) -> f64 {
        let model = if self == Policy::Accurate { models.accurate } else { models.fast };
        forecast(model, step, self.gamma(models, hindsight, step))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::models::Features, *};

    struct By(fn(f64) -> f64);

    impl Regressor for By {
        fn raw(&self, x: &Features) -> f64 {
            (self.0)(x[5])
        }
    }

    fn step() -> Step {
        Step {
            compression: Compression::Int8,
            gamma: 4,
            task: Task::Math,
            step: 0,
            accepted: 2,
            acceptance_rate: 0.5,
            tokens: 3,
            mean_entropy_bits: 1.0,
            mean_confidence: 0.7,
            max_entropy_bits: 2.0,
            min_confidence: 0.4,
            run: 0,
        }
    }

    #[test]
    fn the_rule_takes_the_most_tokens_and_the_first_of_equals() {
        assert_eq!(rule(&By(|_| 0.5), &step()), 8);
        assert_eq!(
            rule(&By(|gamma| 2.0 / gamma), &step()),
            2,
            "two accepted whatever gamma: all equal"
        );
        assert_eq!(rule(&By(|gamma| 1.2 - 0.15 * gamma), &step()), 4, "1.8, 2.4, 1.8, 0");
        assert_eq!(forecast(&By(|_| 1.7), &step(), 6), 7.0, "a rate is at most 1");
    }

    #[test]
    fn features_are_the_papers_in_its_order() {
        assert_eq!(step().features(8), [1.0, 0.7, 2.0, 0.4, 1.0, 8.0]);
    }
}
