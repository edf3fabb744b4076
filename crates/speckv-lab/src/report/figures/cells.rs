//! A grid's steps summed up by compression, gamma and prompt.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    grid::{StepRow, folder::compression_rank},
    statistics::{
        Estimate,
        throughput::{Cell, Ratio, ratio},
    },
};

/// Start of the resamples of every interval in a report: the same inputs have the same intervals.
pub const SEED: u64 = 42;

/// Sums over the steps of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// Tokens.
    pub tokens: f64,
    /// Seconds.
    pub seconds: f64,
    /// Steps.
    pub steps: f64,
    /// Draft tokens accepted, in steps that nothing cut.
    pub accepted: f64,
    /// Draft tokens proposed there.
    pub drafted: f64,
    /// Tokens of those steps.
    pub whole_tokens: f64,
    /// Those steps.
    pub whole_steps: f64,
}

/// Which answer.
pub type Key = (String, usize, String, String); // compression, gamma, task, prompt

/// All sums of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// By compression, gamma, task, prompt.
    pub cells: BTreeMap<Key, Sums>,
    /// Compressions in the order of tables.
    pub compressions: Vec<String>,
    /// Gammas, rising.
    pub gammas: Vec<usize>,
    /// Tasks by name.
    pub tasks: Vec<String>,
    /// Prompts that are left out since not every compression and gamma has answered them.
    pub incomplete: usize,
}

impl Grid {
    /// Sums up. Compressions and gammas are compared on the same prompts: those that not all of
    /// them have answered are left out, unless none would remain.
    #[must_use]
    pub fn of(steps: &[StepRow]) -> Self {
        let mut cells: BTreeMap<Key, Sums> = BTreeMap::new();
        for step in steps {
            let key =
                (step.compression.clone(), step.gamma, step.task.clone(), step.prompt_id.clone());
            let sums = cells.entry(key).or_default();
            sums.tokens += step.tokens_produced as f64;
            sums.seconds += step.total_seconds;
            sums.steps += 1.0;
            if !step.censored {
                sums.accepted += step.accepted as f64;
                sums.drafted += step.drafted() as f64;
                sums.whole_tokens += step.tokens_produced as f64;
                sums.whole_steps += 1.0;
            }
        }
        let incomplete = drop_incomplete(&mut cells);
        let distinct = |name: fn(&Key) -> String| {
            let mut names: Vec<String> = cells.keys().map(name).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let mut compressions = distinct(|key| key.0.clone());
        compressions.sort_by_key(|name| compression_rank(name));
        let tasks = distinct(|key| key.2.clone());
        let mut gammas: Vec<usize> = cells.keys().map(|key| key.1).collect();
        gammas.sort_unstable();
        gammas.dedup();
        Grid { cells, compressions, gammas, tasks, incomplete }
    }

    /// Pairs of sums by prompt, of one compression and gamma and one task or all, in one order for
    /// all gammas.
    #[must_use]
    pub fn by_prompt(
        &self,
        compression: &str,
        gamma: usize,
        task: Option<&str>,
        of: fn(&Sums) -> (f64, f64),
    ) -> Vec<Cell> {
        let wanted = |key: &Key| {
            key.0 == compression && key.1 == gamma && task.is_none_or(|task| key.2 == task)
        };
        let chosen = self.cells.iter().filter(|(key, _)| wanted(key));
        chosen
            .map(|(_, sums)| {
                let (tokens, seconds) = of(sums);
                Cell { tokens, seconds }
            })
            .collect()
    }

    /// Tokens and seconds by prompt.
    #[must_use]
    pub fn speeds(&self, compression: &str, gamma: usize, task: Option<&str>) -> Vec<Cell> {
        self.by_prompt(compression, gamma, task, |sums| (sums.tokens, sums.seconds))
    }

    /// Speed of one gamma by that of another on the same prompts; `None` where a prompt is missing
    /// on one side.
    #[must_use]
    pub fn ratio(
        &self,
        compression: &str,
        gamma: usize,
        to: usize,
        task: Option<&str>,
    ) -> Option<Ratio> {
        let (a, b) = (self.speeds(compression, gamma, task), self.speeds(compression, to, task));
        if a.len() == b.len() { ratio(&a, &b, SEED) } else { None }
    }

    /// The gamma with the highest total throughput, `None` without steps.
    #[must_use]
    pub fn fastest(&self, compression: &str, task: Option<&str>) -> Option<usize> {
        let speed = |gamma: &usize| {
            crate::statistics::throughput::throughput(&self.speeds(compression, *gamma, task))
        };
        self.gammas
            .iter()
            .filter_map(|gamma| Some((*gamma, speed(gamma)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(gamma, _)| gamma)
    }

    /// The fastest gamma and all that do not differ from it significantly: the interval of the
    /// ratio, paired by prompt, reaches 1, or there are too few prompts for one. Rising; empty
    /// without steps.
    #[must_use]
    pub fn alike(&self, compression: &str, task: Option<&str>) -> Vec<usize> {
        let Some(best) = self.fastest(compression, task) else { return Vec::new() };
        let reaches = |gamma: usize| {
            self.ratio(compression, gamma, best, task)
                .is_some_and(|ratio| ratio.high.is_none_or(|high| high >= 1.0))
        };
        self.gammas.iter().copied().filter(|&gamma| gamma == best || reaches(gamma)).collect()
    }

    /// Distinct prompts.
    #[must_use]
    pub fn prompts(&self) -> usize {
        let mut ids: Vec<&String> = self.cells.keys().map(|key| &key.3).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }
}

/// Removes the prompts that not every compression and gamma has answered, unless none would remain;
/// how many that were.
fn drop_incomplete(cells: &mut BTreeMap<Key, Sums>) -> usize {
    let settings: BTreeSet<(&String, usize)> = cells.keys().map(|key| (&key.0, key.1)).collect();
    let wanted = settings.len();
    let mut answered: BTreeMap<(String, String), usize> = BTreeMap::new(); // by task and prompt
    for key in cells.keys() {
        *answered.entry((key.2.clone(), key.3.clone())).or_default() += 1;
    }
    let before = answered.len();
    answered.retain(|_, settings| *settings == wanted);
    if answered.is_empty() {
        return 0;
    }
    cells.retain(|key, _| answered.contains_key(&(key.2.clone(), key.3.clone())));
    before - answered.len()
}

/// Sum by sum with the bootstrap's interval over prompts; `None` where there is nothing to divide
/// by.
#[must_use]
pub fn interval(cells: &[Cell]) -> Option<Estimate> {
    let one = vec![Cell { tokens: 1.0, seconds: 1.0 }; cells.len()];
    ratio(cells, &one, SEED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_by_prompt_and_the_fastest_is_found() {
        let step = |gamma: usize, prompt: &str, tokens: usize, seconds: f64| StepRow {
            compression: "asis".into(),
            gamma,
            task: "t".into(),
            prompt_id: prompt.into(),
            tokens_produced: tokens,
            total_seconds: seconds,
            ..StepRow::default()
        };
        let steps = [
            step(0, "a", 1, 0.1),
            step(0, "b", 1, 0.1),
            step(2, "a", 3, 0.2),
            step(2, "b", 2, 0.3),
            step(2, "a", 1, 0.1),
        ];
        let grid = Grid::of(&steps);
        assert_eq!(
            (grid.gammas.as_slice(), grid.prompts(), grid.fastest("asis", None)),
            (&[0, 2][..], 2, Some(0))
        );
        assert_eq!(grid.speeds("asis", 2, Some("t"))[0].tokens, 4.0);
        let ratio = grid.ratio("asis", 2, 0, None).expect("pairs");
        assert!(
            (ratio.value - 1.0).abs() < 1e-12,
            "6 tokens in 0.6 s are as fast as 2 in 0.2 s: {ratio:?}"
        );
        assert_eq!(grid.fastest("fp16", None), None);
        assert_eq!(grid.alike("asis", None), [0, 2], "two prompts tell nothing");
        assert_eq!(grid.alike("fp16", None), [0; 0]);
    }

    #[test]
    fn settings_are_compared_on_the_prompts_that_all_have_answered() {
        let step = |compression: &str, gamma: usize, prompt: &str, seconds: f64| StepRow {
            compression: compression.into(),
            gamma,
            task: "t".into(),
            prompt_id: prompt.into(),
            tokens_produced: 1,
            total_seconds: seconds,
            ..StepRow::default()
        };
        // The slow prompt `b` has no answer with gamma 2 yet.
        let mut steps =
            vec![step("asis", 0, "a", 0.2), step("asis", 0, "b", 0.8), step("asis", 2, "a", 0.25)];
        let grid = Grid::of(&steps);
        assert_eq!((grid.prompts(), grid.incomplete), (1, 1));
        assert_eq!(grid.fastest("asis", None), Some(0), "0.2 s against 0.25 s on the same prompt");
        steps.push(step("asis", 2, "b", 0.3));
        let whole = Grid::of(&steps);
        assert_eq!((whole.prompts(), whole.incomplete), (2, 0));
        assert_eq!(whole.fastest("asis", None), Some(2));
        let apart = Grid::of(&[step("asis", 0, "a", 0.2), step("int8", 0, "b", 0.2)]);
        assert_eq!((apart.prompts(), apart.incomplete), (2, 0), "nothing would remain");
    }
}
