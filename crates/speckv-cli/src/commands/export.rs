//! `speckv export`: draft-length tables for engines that cannot run a controller.

use std::{fs, path::Path};

use serde_json::{Value, json};
use speckv::{cost::CostModel, record::Source};
use speckv_lab::{
    batch_table::{Acceptance, Choice, RowTimes, choices, ranges},
    run_folder::RunFolder,
    trace::Trace,
};

use super::profile::folder_failure;
use speckv_local::{
    failure::{Failure, Outcome, chain},
    report::Reporter,
};

use crate::{
    args::ExportArgs,
    printer::Printer,
    row_curve::{Curves, Points},
    table::Table,
};

pub(super) fn run(args: &ExportArgs, printer: &Printer) -> Outcome<()> {
    let profile = Profile::read(args)?;
    let choices =
        choices(&profile.acceptance, &profile.target, profile.draft.as_ref(), args.batch_max);
    let tables = Tables::new(&choices);
    if let Some(folder) = &args.output {
        tables.write(folder)?;
    }
    if tables.gamma_max == 0 {
        printer.warning(
            "by these measurements no draft length pays at any batch size: leave speculation off",
        );
    }
    let measured = profile.target.measured_rows();
    if args.json {
        return printer.json(&json!({
            "vllm": tables.vllm(),
            "tensorrt_llm": tables.tensorrt_llm(),
            "batch_sizes": choices,
            "context": profile.context,
            "source": profile.source,
            "measured_rows": measured,
        }));
    }
    printer.data(&text(&choices, &tables))?;
    printer.aside(&format!(
        "all speeds are modelled from passes of 1 to {measured} rows at context {}; more rows are \
         extrapolated",
        profile.context
    ));
    Ok(())
}

/// What the table is made from.
struct Profile {
    acceptance: Acceptance,
    target: RowTimes,
    draft: Option<RowTimes>,
    source: Source,
    context: usize,
}

impl Profile {
    fn read(args: &ExportArgs) -> Outcome<Self> {
        let recorded = args.trace.as_deref().map(Recorded::read).transpose()?;
        let has_model = recorded.as_ref().is_none_or(|recorded| recorded.has_model);
        let source = args.source.unwrap_or(if has_model { Source::MODEL } else { Source::NGRAM });
        let acceptance = match (&recorded, &args.acceptance) {
            (Some(recorded), _) => {
                let gamma_max = args
                    .gamma_max
                    .map_or(recorded.gamma_max, |gamma| gamma.min(recorded.gamma_max));
                Acceptance::of_traces(&recorded.traces, source, gamma_max)
            }
            (None, shares) => {
                let shares = shares.as_ref().map_or(&[][..], |shares| &shares.0);
                Acceptance::of_positions(
                    &shares[..args.gamma_max.unwrap_or(shares.len()).min(shares.len())],
                )
            }
        };
        let acceptance = acceptance.map_err(|error| {
            Failure::new(
                chain(&error),
                "--source says who drafts; `speckv profile --trace` records; --acceptance takes \
                 0.8,0.6,0.5",
            )
        })?;
        let own = recorded.as_ref().and_then(|recorded| recorded.cost.as_ref());
        let wanted = args.context.or(recorded.as_ref().map(|recorded| recorded.mean_context));
        let (target, context) = match (&args.curve, own) {
            (Some(path), _) => Curves::read(path)?.at(wanted),
            (None, Some(cost)) => {
                let context = wanted.unwrap_or(0);
                (Curves::of_cost(cost, context), context)
            }
            (None, None) => {
                return Err(Failure::usage(
                    "nothing says what a pass costs",
                    "give --curve FILE: what `speckv bench --curve MODEL --json` prints, or \
                     {\"verify_ms\": {\"1\": 20, \"8\": 21, \"64\": 30}, \"draft_ms\": 4}",
                ));
            }
        };
        let times = target.row_times(args.curve.as_deref())?;
        let draft = match (source, &args.draft_curve) {
            (Source::NGRAM, _) => None,
            (_, Some(path)) => {
                let curve = Curves::read(path)?.at(Some(context)).0;
                Some(curve.row_times(Some(path))?)
            }
            (_, None) => {
                let one = target.draft_ms.or(own.map(|cost| 1e3 * cost.draft_seconds(context))).ok_or_else(|| {
                    Failure::usage(
                        "nothing says what a draft token costs",
                        "give --draft-curve FILE, or \"draft_ms\" in --curve, or --source ngram \
                         for look-up",
                    )
                })?;
                let growth = one / (1e3 * times.at(1.0));
                Some(
                    Points { verify_ms: target.scaled(growth), draft_ms: None }
                        .row_times(args.curve.as_deref())?,
                )
            }
        };
        Ok(Profile { acceptance, target: times, draft, source, context })
    }
}

/// What a folder of traces says.
struct Recorded {
    traces: Vec<Trace>,
    cost: Option<CostModel>,
    gamma_max: usize,
    mean_context: usize,
    has_model: bool,
}

impl Recorded {
    fn read(path: &Path) -> Outcome<Self> {
        let folder = RunFolder::open(path).map_err(|error| folder_failure(&error))?;
        let files = folder.load().map_err(|error| folder_failure(&error))?;
        let traces: Vec<Trace> = files.into_iter().map(|file| file.recording.trace).collect();
        let tokens: usize = traces.iter().map(|trace| trace.tokens.len()).sum();
        let contexts = traces
            .iter()
            .map(|trace| (trace.prompt_tokens + trace.tokens.len() / 2) * trace.tokens.len());
        let mean_context = contexts.sum::<usize>().checked_div(tokens).unwrap_or(0);
        let run = folder.run();
        Ok(Recorded {
            mean_context,
            cost: run.origin.cost.clone(),
            gamma_max: run.settings.gamma_max,
            has_model: run.settings.draft.is_some(),
            traces,
        })
    }
}

/// The choices as the engines take them.
struct Tables {
    gamma_max: usize,
    /// (first, last, gamma).
    ranges: Vec<(usize, usize, usize)>,
}

impl Tables {
    fn new(choices: &[Choice]) -> Self {
        let gamma_max = choices.iter().map(|choice| choice.gamma).max().unwrap_or(0);
        Tables { gamma_max, ranges: ranges(choices) }
    }

    /// Inclusive ranges of batch sizes; vLLM carries the last one on to all larger batches. Null
    /// where nothing pays.
    fn vllm(&self) -> Value {
        match self.gamma_max {
            0 => Value::Null,
            gamma_max => {
                json!({"num_speculative_tokens": gamma_max, "num_speculative_tokens_per_batch_size": self.ranges})
            }
        }
    }

    /// Largest batch size of each range; above the last one TensorRT-LLM does not speculate, so a
    /// range of 0 at the end is left out. The first range must have the largest length there, so
    /// longer ones after it are cut.
    fn draft_len_schedule(&self) -> Vec<(usize, usize)> {
        let first = self.ranges.first().map_or(0, |range| range.2);
        let mut schedule: Vec<(usize, usize)> = Vec::new();
        for &(_, last, gamma) in &self.ranges {
            match schedule.last_mut() {
                Some(entry) if entry.1 == gamma.min(first) => entry.0 = last,
                _ => schedule.push((last, gamma.min(first))),
            }
        }
        while schedule.last().is_some_and(|entry| entry.1 == 0) {
            schedule.pop();
        }
        schedule
    }

    fn tensorrt_llm(&self) -> Value {
        let schedule = self.draft_len_schedule();
        let Some(&(_, longest)) = schedule.first() else { return Value::Null };
        let entries: serde_json::Map<String, Value> =
            schedule.iter().map(|(batch, length)| (batch.to_string(), json!(length))).collect();
        json!({"max_draft_len": longest, "draft_len_schedule": entries})
    }

    fn write(&self, folder: &Path) -> Outcome<()> {
        fs::create_dir_all(folder)
            .map_err(|error| Failure::io("make the folder", folder, &error))?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| Failure::io("write", &path, &error))
        };
        let vllm = serde_json::to_string_pretty(&self.vllm()).map_err(Failure::bug)?;
        write("vllm.json", vllm + "\n")?;
        let schedule = self.draft_len_schedule();
        let yaml = match schedule.first() {
            None => "# no draft length pays: leave speculation off\n".to_owned(),
            Some((_, longest)) => {
                let entries: String = schedule
                    .iter()
                    .map(|(batch, length)| format!("    {batch}: {length}\n"))
                    .collect();
                format!(
                    "speculative_config:\n  max_draft_len: {longest}\n  \
                     draft_len_schedule:\n{entries}"
                )
            }
        };
        write("tensorrt-llm.yaml", yaml)
    }
}

fn text(choices: &[Choice], tables: &Tables) -> String {
    let mut table = Table::new(&["requests", "gamma", "modelled tokens/s", "modelled x off"]);
    for &(first, last, gamma) in &tables.ranges {
        let (from, to) = (&choices[first - 1], &choices[last - 1]);
        let span = |a: String, b: String| if first == last { a } else { format!("{a} to {b}") };
        table.row(vec![
            span(first.to_string(), last.to_string()),
            gamma.to_string(),
            span(
                format!("{:.1}", from.modelled_tokens_per_second),
                format!("{:.1}", to.modelled_tokens_per_second),
            ),
            span(
                format!("{:.2}", from.modelled_ratio_to_off),
                format!("{:.2}", to.modelled_ratio_to_off),
            ),
        ]);
    }
    format!("{table}\nvLLM: {}\nTensorRT-LLM: {}\n", tables.vllm(), tables.tensorrt_llm())
}
