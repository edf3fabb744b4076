//! What the check found, as text and as JSON.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;
use speckv_lab::statistics::{Estimate, throughput as statistics};
use speckv_local::units;

use super::trial::{Timing, Trial};
use crate::{
    table::Table,
    verdict::{self, Verdict},
};
use statistics::Cell;

/// What the verdict's time includes.
const SCOPE: &str = "end to end, prompt reading counted";

/// What was checked.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// Name of the target's file.
    pub model: String,
    /// Type of most of its weights in memory.
    pub weights: String,
    /// Bytes of weights that a token reads.
    pub pass_bytes: u64,
    /// The device: `cpu`.
    pub device: String,
    /// What computes: an instruction set, or the name of a device.
    pub processor: String,
    /// Processor, cores and system.
    pub machine: String,
    /// Threads that compute.
    pub threads: usize,
    /// What drafts, `null` where nothing does.
    pub draft: Option<String>,
    /// The same in words, with where it comes from.
    pub drafting: String,
    /// The controller that decides how far to draft.
    pub controller: String,
    /// Bytes of memory read per second by the same threads; `null` where that is not measured.
    pub read_rate: Option<f64>,
    /// Milliseconds of a pass of the target by its tokens.
    pub verify_ms: BTreeMap<usize, f64>,
    /// Milliseconds of a token of the draft model.
    pub draft_ms: Option<f64>,
    /// Most tokens of an answer.
    pub max_tokens: usize,
}

/// The result of `speckv doctor`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was checked.
    #[serde(flatten)]
    pub subject: Subject,
    /// One entry per prompt.
    pub prompts: Vec<Trial>,
    /// Tokens per second end to end: of the answers, by the time of reading and decoding.
    pub plain_tokens_per_second: Option<f64>,
    /// The same with speculation.
    pub speculative_tokens_per_second: Option<f64>,
    /// The two by each other.
    pub end_to_end: Option<Estimate>,
    /// The same for decoding alone.
    pub decoding: Option<Estimate>,
    /// The same by task, without intervals.
    pub end_to_end_by_task: BTreeMap<String, f64>,
    /// What it says.
    pub verdict: Verdict,
    /// What to change.
    pub changes: Vec<String>,
    /// Seconds that the check took, loading included.
    pub seconds: f64,
    /// The verdict as a sentence.
    pub sentence: String,
}

impl Report {
    /// Sums up.
    #[must_use]
    pub fn new(subject: Subject, prompts: Vec<Trial>, changes: Vec<String>, seconds: f64) -> Self {
        let whole = |timing: &Timing| timing.reading + timing.decoding;
        let end_to_end = compared(prompts.iter(), whole);
        let tasks: Vec<&String> = prompts.iter().map(|trial| &trial.task).collect();
        let by_task = tasks.iter().filter_map(|&task| {
            let of_task = prompts.iter().filter(|trial| trial.task == *task);
            Some((task.clone(), compared(of_task, whole)?.value))
        });
        let plain = statistics::throughput(&cells(prompts.iter(), whole).0);
        let sentence = match &end_to_end {
            Some(ratio) => verdict::sentence("Speculation", ratio, SCOPE, prompts.len()),
            None => verdict::no_draft(plain),
        };
        Report {
            plain_tokens_per_second: plain,
            speculative_tokens_per_second: end_to_end
                .and_then(|_| statistics::throughput(&cells(prompts.iter(), whole).1)),
            decoding: compared(prompts.iter(), |timing| timing.decoding),
            end_to_end_by_task: by_task.collect(),
            verdict: end_to_end.as_ref().map_or(Verdict::NoDraft, Verdict::of),
            end_to_end,
            sentence,
            subject,
            prompts,
            changes,
            seconds,
        }
    }

    /// Answers that differ from plain decoding's.
    #[must_use]
    pub fn mismatches(&self) -> usize {
        self.prompts.iter().filter(|trial| !trial.identical).count()
    }

    /// For people; the last line is the verdict.
    #[must_use]
    pub fn as_text(&self) -> String {
        let subject = &self.subject;
        let mut text = format!(
            "model             {}: {}, {} of weights per token\n\
             device            {}: {}, {}, {} thread{}\n\
             memory read rate  {}\n\
             draft             {}\n",
            subject.model,
            subject.weights,
            units::bytes(subject.pass_bytes),
            subject.device,
            subject.machine,
            subject.processor,
            subject.threads,
            if subject.threads == 1 { "" } else { "s" },
            self.read_rate(),
            subject.drafting,
        );
        text.push_str(&self.costs());
        text.push('\n');
        text.push_str(&self.speeds());
        if !self.changes.is_empty() {
            text.push_str("\nto change:\n");
            for change in &self.changes {
                let _ = writeln!(text, "- {change}");
            }
        }
        let _ = write!(text, "\n{}\n", self.sentence);
        text
    }

    fn read_rate(&self) -> String {
        let Some(rate) = self.subject.read_rate else { return "not measured here".into() };
        let shown = format!("{:.1} GB/s", rate / 1e9);
        let floor_ms = 1e3 * self.subject.pass_bytes as f64 / rate;
        match self.subject.verify_ms.get(&1) {
            Some(ms) => format!(
                "{shown}; a pass takes {ms:.2} ms, its weights alone {floor_ms:.2} ms at that rate"
            ),
            None => shown,
        }
    }

    /// The verification curve, and what a draft token costs.
    fn costs(&self) -> String {
        let curve = &self.subject.verify_ms;
        let mut text = String::new();
        let Some(one) = curve.get(&1) else { return text };
        if let Some(draft) = self.subject.draft_ms {
            let _ = writeln!(
                text,
                "draft token       {draft:.2} ms, {:.0} % of a pass over one token",
                100.0 * draft / one
            );
        }
        let head: Vec<String> = curve.keys().map(ToString::to_string).collect();
        let head: Vec<&str> =
            ["tokens in a pass"].into_iter().chain(head.iter().map(String::as_str)).collect();
        let mut table = Table::new(&head);
        let row = |name: &str, cells: Vec<String>| [vec![name.to_owned()], cells].concat();
        table.row(row("milliseconds", curve.values().map(|ms| format!("{ms:.2}")).collect()));
        table.row(row(
            "by one token",
            curve.values().map(|ms| format!("{:.2}", ms / one)).collect(),
        ));
        let _ = write!(text, "\n{table}");
        text
    }

    fn speeds(&self) -> String {
        let count = self.prompts.len();
        let mut text = format!(
            "{count} built-in prompt{}, answers of up to {} tokens",
            if count == 1 { "" } else { "s" },
            self.subject.max_tokens
        );
        let speed = |speed: Option<f64>| speed.map_or("-".into(), |speed| format!("{speed:.1}"));
        let (Some(ends), Some(decoding)) = (&self.end_to_end, &self.decoding) else {
            let plain = speed(self.plain_tokens_per_second);
            let _ = writeln!(text, ": {plain} tokens per second, prompt reading counted");
            return text;
        };
        let _ =
            writeln!(text, ", with and without speculation ({}) in turn", self.subject.controller);
        let _ = writeln!(
            text,
            "end to end: {} tokens per second with speculation, {} without: {}",
            speed(self.speculative_tokens_per_second),
            speed(self.plain_tokens_per_second),
            times(ends)
        );
        let _ = writeln!(text, "decoding alone: {}", times(decoding));
        let tasks: Vec<String> =
            self.end_to_end_by_task.iter().map(|(task, by)| format!("{task} {by:.2} x")).collect();
        let _ = writeln!(text, "end to end by task: {}", tasks.join(", "));
        if self.mismatches() == 0 {
            text.push_str("every answer has the tokens of plain decoding\n");
        }
        text
    }
}

/// `1.42 x (1.21 to 1.66)`.
fn times(ratio: &Estimate) -> String {
    let ends =
        ratio.ends().map_or(String::new(), |(low, high)| format!(" ({low:.2} to {high:.2})"));
    format!("{:.2} x{ends}", ratio.value)
}

/// Tokens and seconds of each prompt, without and with speculation.
fn cells<'a>(
    trials: impl Iterator<Item = &'a Trial>,
    seconds: impl Fn(&Timing) -> f64,
) -> (Vec<Cell>, Vec<Cell>) {
    let cell = |timing: &Timing| Cell { tokens: timing.tokens as f64, seconds: seconds(timing) };
    trials
        .map(|trial| {
            (cell(&trial.plain), trial.speculative.as_ref().map_or(Cell::default(), &cell))
        })
        .unzip()
}

/// Throughput with speculation by that without; `None` where nothing drafts.
fn compared<'a>(
    trials: impl Iterator<Item = &'a Trial>,
    seconds: impl Fn(&Timing) -> f64,
) -> Option<Estimate> {
    let (plain, speculative) = cells(trials, seconds);
    let both = speculative.iter().all(|cell| cell.seconds > 0.0);
    both.then(|| statistics::ratio(&speculative, &plain, 0)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(number: usize, speculative: Option<(f64, f64)>) -> Trial {
        let timing =
            |reading, decoding| Timing { tokens: 60, reading, decoding, ..Timing::default() };
        Trial {
            id: format!("t-{number}"),
            task: ["chat", "code"][number % 2].into(),
            prompt_tokens: 30,
            plain: timing(1.0, 5.0),
            speculative: speculative.map(|(reading, decoding)| timing(reading, decoding)),
            identical: true,
        }
    }

    fn report(count: usize, speculative: Option<(f64, f64)>) -> Report {
        let subject = Subject {
            model: "m.gguf".into(),
            weights: "Q4_1".into(),
            pass_bytes: 100_000_000,
            device: "cpu".into(),
            processor: "avx2".into(),
            machine: "a processor, 2 cores".into(),
            threads: 2,
            draft: speculative.map(|_| "ngram".into()),
            drafting: "look-up of earlier text".into(),
            controller: "speckv".into(),
            read_rate: Some(1e10),
            verify_ms: [(1, 20.0), (2, 21.0), (5, 26.0)].into(),
            draft_ms: speculative.map(|_| 5.0),
            max_tokens: 60,
        };
        let trials = (0..count).map(|number| trial(number, speculative)).collect();
        Report::new(subject, trials, vec!["more".into()], 12.5)
    }

    #[test]
    fn the_reading_of_the_prompt_is_part_of_the_ratio() {
        // 60 tokens: 6 s without, 1 + 2 s with speculation.
        let report = report(8, Some((1.0, 2.0)));
        let ratio = report.end_to_end.expect("both");
        assert!((ratio.value - 2.0).abs() < 1e-12 && ratio.ends().is_some());
        assert!((report.decoding.expect("both").value - 2.5).abs() < 1e-12);
        assert_eq!(report.plain_tokens_per_second, Some(10.0));
        assert_eq!(report.speculative_tokens_per_second, Some(20.0));
        assert_eq!(report.verdict, Verdict::Gain);
    }

    #[test]
    fn the_text_ends_with_the_verdict() {
        for (seconds, words) in [
            (Some((1.0, 2.0)), "Speculation helps on this machine with this model: 2.00 x "),
            (Some((1.0, 5.0)), "Speculation makes no measurable difference"),
            (Some((1.0, 9.0)), "Speculation costs time on this machine with this model: 0.60 x"),
            (None, "Nothing drafts for this model, so it decodes plainly: 10.0 tokens per second"),
        ] {
            let text = report(8, seconds).as_text();
            let last = text.lines().last().expect("a line");
            assert!(last.starts_with(words), "{text}");
            assert!(last.ends_with('.') && last.matches(". ").count() == 0, "one sentence: {last}");
        }
    }

    #[test]
    fn the_text_has_read_rate_curve_device_and_draft() {
        let text = report(8, Some((1.0, 2.0))).as_text();
        for part in [
            "10.0 GB/s; a pass takes 20.00 ms, its weights alone 10.00 ms",
            "cpu: a processor, 2 cores, avx2, 2 threads",
            "look-up of earlier text",
            "5.00 ms, 25 % of a pass",
            "tokens in a pass      1      2      5",
            "by one token       1.00   1.05   1.30",
            "20.0 tokens per second with speculation, 10.0 without: 2.00 x (2.00 to 2.00)",
            "chat 2.00 x, code 2.00 x",
            "- more",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let json = serde_json::to_value(report(3, None)).expect("JSON");
        assert_eq!(
            (json["verdict"].as_str(), json["end_to_end"].is_null()),
            (Some("no_draft"), true)
        );
    }
}
