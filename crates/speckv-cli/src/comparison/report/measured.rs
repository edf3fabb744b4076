//! Samples with what they are about, and what follows from them.

use std::collections::BTreeMap;

use speckv::controller::Drafting;

use super::{
    super::{
        Contestant, Sample, Text,
        statistics::{Cell, Ratio, ratio, throughput},
    },
    Row, TaskRow,
};

/// Samples with what they are about.
pub(super) struct Measured<'a> {
    pub(super) texts: &'a [Text],
    pub(super) contestants: &'a [Contestant],
    pub(super) samples: &'a [Sample],
    pub(super) seed: u64,
}

impl Measured<'_> {
    /// A contestant's cells, one per prompt with samples, of one task or all.
    pub(super) fn cells(
        &self,
        contestant: usize,
        task: Option<&str>,
        with_draft_prompts: bool,
    ) -> Vec<Cell> {
        let mut cells: BTreeMap<usize, Cell> = BTreeMap::new();
        let wanted = |prompt: usize| task.is_none_or(|task| self.texts[prompt].task == task);
        for sample in self
            .samples
            .iter()
            .filter(|sample| sample.contestant == contestant && wanted(sample.prompt))
        {
            let cell = cells.entry(sample.prompt).or_default();
            cell.tokens += sample.totals.produced as f64;
            cell.seconds += sample.totals.times.total.as_secs_f64();
            if with_draft_prompts {
                cell.seconds += sample.draft_prompt_seconds;
            }
        }
        cells.into_values().collect()
    }

    /// Throughputs after the head of the answers, on the prompts where both have something there.
    fn compared_after_head(&self, contestant: usize, other: usize) -> Option<Ratio> {
        let tails = |of: usize| {
            let mut cells: BTreeMap<usize, Cell> = BTreeMap::new();
            for sample in self.samples.iter().filter(|sample| sample.contestant == of) {
                let (cell, tail) = (cells.entry(sample.prompt).or_default(), sample.tail());
                cell.tokens += tail.tokens;
                cell.seconds += tail.seconds;
            }
            cells
        };
        let (ours, theirs) = (tails(contestant), tails(other));
        let both = ours.iter().filter_map(|(prompt, cell)| Some((*cell, *theirs.get(prompt)?)));
        let (a, b): (Vec<Cell>, Vec<Cell>) =
            both.filter(|(a, b)| a.tokens > 0.0 && b.tokens > 0.0).unzip();
        ratio(&a, &b, self.seed)
    }

    fn speed(&self, contestant: usize, task: Option<&str>) -> Option<f64> {
        throughput(&self.cells(contestant, task, false))
    }

    pub(super) fn compared(
        &self,
        contestant: usize,
        other: usize,
        task: Option<&str>,
    ) -> Option<Ratio> {
        ratio(&self.cells(contestant, task, false), &self.cells(other, task, false), self.seed)
    }

    /// The fastest of those that `wanted` picks.
    pub(super) fn best(
        &self,
        task: Option<&str>,
        wanted: impl Fn(&Contestant) -> bool,
    ) -> Option<usize> {
        let speeds =
            self.contestants.iter().enumerate().filter(|(_, contestant)| wanted(contestant));
        let speeds = speeds.filter_map(|(index, _)| Some((index, self.speed(index, task)?)));
        speeds.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
    }

    pub(super) fn row(
        &self,
        index: usize,
        best_fixed: Option<usize>,
        best_by_task: &BTreeMap<String, usize>,
    ) -> Row {
        let contestant = &self.contestants[index];
        let mine = || self.samples.iter().filter(move |sample| sample.contestant == index);
        let (mut steps, mut drafted, mut accepted, mut produced) = (0, 0, 0, 0);
        let (mut draft, mut verify, mut control, mut total) = (0.0, 0.0, 0.0, 0.0);
        let mut gamma_histogram: Vec<usize> = Vec::new();
        for totals in mine().map(|sample| &sample.totals) {
            steps += totals.steps;
            drafted += totals.drafted;
            accepted += totals.accepted;
            produced += totals.produced;
            draft += (totals.times.draft + totals.times.catch_up).as_secs_f64();
            verify += totals.times.verify.as_secs_f64();
            control += totals.times.controller.as_secs_f64();
            total += totals.times.total.as_secs_f64();
            if gamma_histogram.len() < totals.gamma_histogram.len() {
                gamma_histogram.resize(totals.gamma_histogram.len(), 0);
            }
            gamma_histogram
                .iter_mut()
                .zip(&totals.gamma_histogram)
                .for_each(|(sum, count)| *sum += count);
        }
        let joules: Option<f64> = mine().map(|sample| sample.joules).sum();
        let part = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        let share = |seconds: f64| if total > 0.0 { seconds / total } else { 0.0 };
        let reads = index > 0 && contestant.drafting != Drafting::Ngram;
        let tasks = self.tasks().into_iter().map(|task| {
            let row = TaskRow {
                prompts: self.cells(index, Some(task), false).len(),
                tokens_per_second: self.speed(index, Some(task)),
                to_off: self.compared(index, 0, Some(task)),
                to_best_fixed: best_by_task
                    .get(task)
                    .and_then(|&best| self.compared(index, best, Some(task))),
            };
            (task.clone(), row)
        });
        Row {
            setting: contestant.name.clone(),
            tokens_per_second: self.speed(index, None),
            to_off: self.compared(index, 0, None),
            to_best_fixed: best_fixed.and_then(|best| self.compared(index, best, None)),
            to_off_after_head: self.compared_after_head(index, 0),
            to_off_with_draft_prompts: ratio(
                &self.cells(index, None, reads),
                &self.cells(0, None, false),
                self.seed,
            ),
            joules_per_token: joules
                .filter(|_| produced > 0)
                .map(|joules| joules.max(0.0) / produced as f64),
            acceptance_rate: part(accepted, drafted),
            acceptance_length: part(produced, steps),
            mean_gamma: part(drafted, steps),
            siblings: mine().map(|sample| sample.totals.siblings).sum(),
            siblings_accepted: mine().map(|sample| sample.totals.siblings_accepted).sum(),
            draft_share: share(draft),
            verify_share: share(verify),
            controller_share: share(control),
            mismatches: mine().filter(|sample| !sample.identical).count(),
            tasks: tasks.collect(),
            gamma_histogram,
        }
    }

    /// Tasks with samples, in the order of the prompts.
    pub(super) fn tasks(&self) -> Vec<&String> {
        let mut tasks = Vec::new();
        for sample in self.samples {
            let task = &self.texts[sample.prompt].task;
            if !tasks.contains(&task) {
                tasks.push(task);
            }
        }
        tasks
    }
}
