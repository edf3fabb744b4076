//! What siblings could gain: `second_choices TRACES DRAFT.gguf`.
//!
//! A sibling is the draft's second choice at one position, verified in a row of its own beside the
//! draft. This replays the default controller over recorded traces and reads the draft model along
//! the target's texts, which gives its second choice wherever all tokens before it were accepted.
//! A sibling that is right adds one token to its step. Prints, by task and overall, for steps of
//! the default controller:
//!
//! - how often the draft's first choice is rejected and its second one is then right;
//! - the gain of siblings placed at the first kept position whose confidence is below a bound, for
//!   the best bound in hindsight, with rows at their measured price;
//! - the same where it is known beforehand whether a sibling will be right: nothing can gain more.

use std::{collections::BTreeMap, error::Error, path::Path, sync::Arc, thread};

use speckv::{
    controller::{Speckv, SpeckvOptions},
    cost::CostModel,
    model::{Feed, LanguageModel, PassOutput},
    predictor::Predictor,
    record::{Source, StepRecord},
    token::Token,
};
use speckv_cpu::{
    model::{CpuModel, LoadOptions},
    pool::Pool,
};
use speckv_formats::checkpoint::Checkpoint;
use speckv_lab::{replay::replay, run_folder::RunFolder};

/// Rows of a pass over a text.
const ROWS: usize = 32;

/// What a step with a sibling would come to.
#[derive(Debug, Clone, Copy)]
struct Chance {
    /// Confidence of the draft's first choice there.
    confidence: f32,
    /// Seconds of a row more.
    row_seconds: f64,
    /// The first choice is rejected there, and the second one is right.
    is_right: bool,
}

/// Steps of a group of texts.
#[derive(Debug, Default)]
struct Steps {
    tokens: usize,
    seconds: f64,
    rejected: usize,
    second_right: usize,
    /// For each step with draft tokens of the model, its kept positions up to the first rejection.
    positions: Vec<Vec<Chance>>,
}

impl Steps {
    fn add(&mut self, record: &StepRecord, seconds: &[Token], text: &[Token], cost: &CostModel) {
        self.tokens += record.outcome.produced;
        self.seconds += record.times.total.as_secs_f64();
        if record.before.plan.source != Source::MODEL || record.drafted.is_empty() {
            return;
        }
        let (rows, context) = (record.rows(), record.before.context);
        let row_seconds =
            cost.verify_seconds(rows + 1, context) - cost.verify_seconds(rows, context);
        let mut chances = Vec::new();
        for position in 0..record.outcome.verified {
            let Some(accepted) = record.outcome.label(position) else { break };
            // A branch that says the right token already leaves nothing to gain.
            let branch = record.branch.accepted > 0 && record.branch.at == position;
            let is_right = !accepted && !branch && seconds.get(position) == text.get(position);
            self.rejected += usize::from(!accepted);
            self.second_right += usize::from(is_right);
            let confidence = record.drafted[position].signals.confidence;
            chances.push(Chance { confidence, row_seconds, is_right });
        }
        self.positions.push(chances);
    }

    /// Speed to that without siblings, where `choose` says at which position of a step one is.
    fn gain(&self, choose: impl Fn(&[Chance]) -> Option<Chance>) -> f64 {
        let chosen = self.positions.iter().filter_map(|chances| choose(chances));
        let (right, seconds) = chosen.fold((0, 0.0), |(right, seconds), chance| {
            (right + usize::from(chance.is_right), seconds + chance.row_seconds)
        });
        // The text has its length: a right sibling saves the share of a step that makes a token.
        let share = 1.0 + right as f64 / self.tokens as f64;
        share / (1.0 + seconds / self.seconds)
    }

    fn report(&self, name: &str) -> String {
        // The kept positions end at the first rejection: a sibling after it is a row for nothing.
        let below = |bound: f32| {
            self.gain(|chances| chances.iter().find(|chance| chance.confidence < bound).copied())
        };
        let bounds = (1..=20).map(|twentieth| twentieth as f32 / 20.0);
        let best = bounds.map(|bound| (below(bound), bound));
        let (best, bound) = best.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default();
        let known = self.gain(|chances| chances.iter().find(|chance| chance.is_right).copied());
        let drafted = self.positions.len();
        let row: f64 = self.positions.iter().flatten().map(|chance| chance.row_seconds).sum();
        let rows = self.positions.iter().map(Vec::len).sum::<usize>().max(1);
        format!(
            "{name:14} {:6} tokens, {drafted:5} steps that draft, {:.2} ms a row; rejected in \
             {:.3} of them, second choice right in {:.3} of these; gain {:+.2} % below {bound:.2}, \
             {:+.2} % if known\n",
            self.tokens,
            1e3 * row / rows as f64,
            self.rejected as f64 / drafted.max(1) as f64,
            self.second_right as f64 / self.rejected.max(1) as f64,
            100.0 * (best - 1.0),
            100.0 * (known - 1.0),
        )
    }
}

/// The draft's two likeliest tokens after each token of a text but the last.
fn two_likeliest(model: &CpuModel, text: &[Token]) -> Result<Vec<[Token; 2]>, Box<dyn Error>> {
    let (mut cache, mut output) = (model.new_cache()?, model.new_output());
    let mut found = Vec::with_capacity(text.len());
    for chunk in text[..text.len() - 1].chunks(ROWS) {
        model.forward(&mut [Feed::new(&mut cache, chunk, chunk.len())], &mut output)?;
        for row in 0..chunk.len() {
            let (mut first, mut second) = ((f32::NEG_INFINITY, 0), (f32::NEG_INFINITY, 0));
            for (token, &logit) in output.logits(row)?.iter().enumerate() {
                if logit > first.0 {
                    (first, second) = ((logit, token as Token), first);
                } else if logit > second.0 {
                    second = (logit, token as Token);
                }
            }
            found.push([first.1, second.1]);
        }
    }
    Ok(found)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [traces, draft] = &arguments[..] else { return Err("expected TRACES DRAFT.gguf".into()) };
    let folder = RunFolder::open(Path::new(traces))?;
    let (settings, origin) = (&folder.run().settings, &folder.run().origin);
    let cost = origin.cost.clone().ok_or("the traces have no measured costs")?;
    let shape = settings.draft.as_ref().map(|draft| &draft.shape);
    let weights = Predictor::shipped(&settings.target.shape, shape);
    let weights = weights.unwrap_or_else(|| Arc::new(Predictor::prior()));
    let pool = Arc::new(Pool::new(thread::available_parallelism()?)?);
    let options = LoadOptions { context: Some(4096), ..LoadOptions::new(pool) };
    let model = CpuModel::load(&Checkpoint::open(Path::new(draft))?, &options, &mut |_| {})?;
    let mut groups = BTreeMap::<String, Steps>::new();
    let (mut equal, mut compared) = (0, 0);
    for file in folder.load()? {
        let trace = &file.recording.trace;
        let text = [&file.prompt.tokens[..], &trace.tokens].concat();
        let likeliest = two_likeliest(&model, &text)?;
        let likeliest = &likeliest[file.prompt.tokens.len() - 1..];
        for (position, [first, _]) in trace.positions.iter().zip(likeliest) {
            compared += usize::from(!position.model.drafted.is_empty());
            equal +=
                usize::from(position.model.drafted.first().is_some_and(|it| it.token == *first));
        }
        let facts = settings.facts();
        let options = SpeckvOptions::default();
        let mut controller = Speckv::new(cost.clone(), Arc::clone(&weights), facts, options);
        let mut done = 0;
        for record in replay(&mut controller, trace, &cost)? {
            let seconds: Vec<Token> = likeliest[done..].iter().map(|pair| pair[1]).collect();
            for group in [trace.task.as_str(), "overall"] {
                let steps = groups.entry(group.to_owned()).or_default();
                steps.add(&record, &seconds, &trace.tokens[done..], &cost);
            }
            done += record.outcome.produced;
        }
    }
    println!("first choice equal to the recorded draft's in {equal} of {compared} positions");
    for (name, steps) in &groups {
        print!("{}", steps.report(name));
    }
    Ok(())
}
