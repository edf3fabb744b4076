//! The report for people.

use std::fmt::Write;

use super::{
    Report,
    report::{EnergyNote, Row},
    sample::HEAD_TOKENS,
    statistics::{RESAMPLES, Ratio},
};
use speckv_lab::statistics::FEWEST_UNITS;
use speckv_local::backend::CacheType;

/// What becomes of gamma as the target's compression changes: one line per report, and the
/// verdict of each at the end.
#[must_use]
pub fn across_compressions(reports: &[Report]) -> String {
    let head = [
        "compression",
        "GB per pass",
        "off tok/s",
        "best fixed",
        "to off",
        "speckv tok/s",
        "to off",
        "gamma",
        "steps by gamma",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for report in reports {
        let row = |name: &str| report.settings.iter().find(|row| row.setting == name);
        let (off, ours) = (row("off"), row("speckv"));
        let best = report.best_fixed.as_deref().and_then(row);
        let speed = |row: Option<&Row>| {
            row.and_then(|row| row.tokens_per_second)
                .map_or("-".into(), |speed| format!("{speed:.2}"))
        };
        rows.push(vec![
            report.subject.compression.clone(),
            format!("{:.2}", report.subject.target_bytes as f64 / 1e9),
            speed(off),
            best.map_or("-".into(), |best| best.setting.clone()),
            interval(best.and_then(|best| best.to_off)),
            speed(ours),
            interval(ours.and_then(|ours| ours.to_off)),
            ours.and_then(|ours| ours.mean_gamma).map_or("-".into(), |gamma| format!("{gamma:.2}")),
            ours.map_or(String::new(), |ours| bars(&ours.gamma_histogram)),
        ]);
    }
    let mut text = aligned(&rows);
    text.push('\n');
    for report in reports {
        let _ = writeln!(text, "{}: {}", report.subject.compression, report.verdict);
    }
    text
}

impl Report {
    /// Two tables, over everything and by task, what to know about them, and the verdict as the
    /// last line.
    #[must_use]
    pub fn as_text(&self) -> String {
        let (overview, by_task, notes) = (self.overview(), self.by_task(), self.notes());
        format!("{overview}\n{by_task}\n{notes}\n{}\n", self.verdict)
    }

    fn overview(&self) -> String {
        let head = [
            "setting",
            "tok/s",
            "to off",
            "to best fixed",
            "accept",
            "length",
            "gamma",
            "steps by gamma",
            "draft",
            "verify",
            "control",
        ];
        let late = format!("from token {}", HEAD_TOKENS + 1);
        let long = self.subject.max_tokens > HEAD_TOKENS;
        let mut head = head.map(str::to_owned).to_vec();
        if long {
            head.insert(3, late);
        }
        let energy = self.settings.iter().any(|row| row.joules_per_token.is_some());
        if energy {
            head.push("J/token".to_owned());
        }
        let mut rows = vec![head];
        for row in &self.settings {
            let number = |value: Option<f64>, decimals: usize| {
                value.map_or("-".into(), |value| format!("{value:.decimals$}"))
            };
            let late = long.then(|| interval(row.to_off_after_head));
            let first =
                [row.setting.clone(), number(row.tokens_per_second, 2), interval(row.to_off)];
            let rest = vec![
                interval(row.to_best_fixed),
                row.acceptance_rate.map_or("-".into(), |rate| format!("{:.0} %", 100.0 * rate)),
                number(row.acceptance_length, 2),
                number(row.mean_gamma, 2),
                bars(&row.gamma_histogram),
                format!("{:.0} %", 100.0 * row.draft_share),
                format!("{:.0} %", 100.0 * row.verify_share),
                format!("{:.2} %", 100.0 * row.controller_share),
            ];
            let joules = energy.then(|| number(row.joules_per_token, 3));
            rows.push(first.into_iter().chain(late).chain(rest).chain(joules).collect());
        }
        aligned(&rows)
    }

    fn by_task(&self) -> String {
        let Some(first) = self.settings.first() else { return String::new() };
        let mut head = vec!["to off".to_owned()];
        head.extend(first.tasks.keys().cloned());
        let mut rows = vec![head];
        let values =
            |row: &Row| row.tasks.values().map(|task| interval(task.to_off)).collect::<Vec<_>>();
        rows.extend(
            self.settings
                .iter()
                .skip(1)
                .map(|row| [vec![row.setting.clone()], values(row)].concat()),
        );
        if !self.best_fixed_by_task.is_empty() {
            let best = first
                .tasks
                .keys()
                .map(|task| self.best_fixed_by_task.get(task).cloned().unwrap_or_default());
            rows.push([vec!["best fixed".to_owned()], best.collect()].concat());
            if let Some(ours) = self.settings.iter().find(|row| row.setting == "speckv") {
                let values = ours.tasks.values().map(|task| interval(task.to_best_fixed));
                rows.push([vec!["speckv to it".to_owned()], values.collect()].concat());
            }
        }
        aligned(&rows)
    }

    fn notes(&self) -> String {
        let subject = &self.subject;
        let mut text = format!(
            "{} prompt{} ({} split), up to {} tokens each, {} round{}, {} threads, {}; brackets: \
             95 % intervals, {RESAMPLES} resamples of prompts\n",
            subject.prompts,
            if subject.prompts == 1 { "" } else { "s" },
            subject.split,
            subject.max_tokens,
            subject.rounds,
            if subject.rounds == 1 { "" } else { "s" },
            subject.threads,
            subject.instruction_set,
        );
        if subject.kv != CacheType::F16.name() {
            let _ = writeln!(text, "keys and values in {}", subject.kv);
        }
        let by_task = self.settings.first().into_iter().flat_map(|row| row.tasks.values());
        let fewest = by_task.map(|task| task.prompts).min().unwrap_or_default();
        if subject.prompts < FEWEST_UNITS {
            let _ = writeln!(
                text,
                "fewer than {FEWEST_UNITS} prompts: no intervals, and nothing is known to be faster"
            );
        } else if fewest < FEWEST_UNITS {
            let _ =
                writeln!(text, "tasks with fewer than {FEWEST_UNITS} prompts have no intervals");
        }
        if subject.max_tokens > HEAD_TOKENS {
            let _ = writeln!(
                text,
                "from token {}: to off, without what the first {HEAD_TOKENS} tokens of each \
                 answer took; in it a controller finds out what a draft is worth",
                HEAD_TOKENS + 1
            );
        }
        if subject.spoiled_draft {
            text.push_str("the draft was spoiled on purpose: it is as sure as ever, and wrong\n");
        }
        if let Some(best) = &self.best_fixed {
            let _ = writeln!(
                text,
                "best fixed gamma of the whole workload, known in hindsight only: {best}"
            );
        }
        if let (Some(rival), Some(ratio)) = (&self.best_rival, self.speckv_to_best_rival) {
            let _ = writeln!(text, "best rival: {rival}; speckv to it: {}", interval(Some(ratio)));
        }
        if subject.cold_draft {
            text.push_str("the draft's reading of each prompt is part of the times\n");
        } else if self.draft_prompt_seconds > 0.0 {
            let _ = write!(
                text,
                "the draft read each prompt in {:.2} s (mean), which no figure above includes",
                self.draft_prompt_seconds
            );
            let ours =
                self.settings.iter().find(|row| row.setting == "speckv").or(self.settings.last());
            if let Some(ours) = ours {
                let _ = write!(
                    text,
                    "; counted as decoding, {} to off is {}",
                    ours.setting,
                    interval(ours.to_off_with_draft_prompts)
                );
            }
            text.push('\n');
        }
        text.push_str(
            "control: planning, judging and learning; draft: drafting and reading its signals\n",
        );
        let _ = match &self.energy {
            EnergyNote::Counted { source, idle_watts } => writeln!(
                text,
                "J/token: joules per token above the idle machine's {idle_watts:.1} W ({source})"
            ),
            EnergyNote::Absent { absent } => writeln!(text, "energy: not measured: {absent}"),
        };
        let _ = writeln!(text, "answers that differ from plain decoding: {}", self.mismatches);
        if self.stopped {
            text.push_str(
                "stopped before the end: only prompts that all had answered are counted\n",
            );
        }
        text
    }
}

fn interval(ratio: Option<Ratio>) -> String {
    ratio.map_or("-".into(), |ratio| bracketed(&ratio))
}

/// `1.420 [1.310, 1.500]`; of too few prompts `1.420`.
#[must_use]
pub fn bracketed(ratio: &Ratio) -> String {
    let ends =
        ratio.ends().map_or_else(String::new, |(low, high)| format!(" [{low:.3}, {high:.3}]"));
    format!("{:.3}{ends}", ratio.value)
}

/// Counts as bars, one character each from gamma 0: a space for none, eight heights relative to the
/// largest.
fn bars(counts: &[usize]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let largest = counts.iter().copied().max().unwrap_or(0).max(1);
    let bar =
        |&count: &usize| if count == 0 { '·' } else { HEIGHTS[(count * 8).div_ceil(largest) - 1] };
    counts.iter().map(bar).collect()
}

/// Columns as wide as their widest cell; the first is flush left, numbers are flush right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let left =
                column == 0 || row[column].contains(['▁', '█', '·']) || cell == "steps by gamma";
            let padding = " ".repeat(width - cell.chars().count());
            let separator = if column == 0 { "" } else { "  " };
            let _ = if left {
                write!(line, "{separator}{cell}{padding}")
            } else {
                write!(line, "{separator}{padding}{cell}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_every_gamma_and_its_share() {
        assert_eq!(bars(&[0, 1, 80, 40]), "·▁█▄");
        assert_eq!(bars(&[]), "");
    }

    #[test]
    fn the_tables_name_every_setting_and_task_and_end_with_the_verdict() {
        let text = super::super::report::tests::report().as_text();
        for part in [
            "speckv",
            "ema",
            "1.714",
            "1.214",
            "chat",
            "code",
            "best fixed gamma of the whole workload",
            "best rival: ema",
            "3 prompts (test split)",
            "differ from plain decoding: 1",
            "each prompt in 0.50 s",
            "J/token: joules per token above the idle machine's 12.2 W (a counter)",
            "0.233",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines.last().copied(),
            Some(
                "The setting speckv probably helps on this machine with this model: 1.41 x plain \
                 decoding with the draft's reading of the prompts counted, on 3 prompts, \
                 too few for an interval."
            )
        );
        let column = lines[0].find("to best fixed").expect("a head") + "to best fixed".len();
        let digit = |line: &str| line[..column].ends_with(|last: char| last.is_ascii_digit());
        assert!(lines[1..6].iter().all(|line| digit(line)), "columns are aligned:\n{text}");
        assert!(
            text.contains("fewer than 6 prompts: no intervals") && !text.contains('['),
            "{text}"
        );
        assert_eq!(
            bracketed(&Ratio { value: 1.5, low: Some(1.25), high: Some(2.0) }),
            "1.500 [1.250, 2.000]"
        );
    }
}
