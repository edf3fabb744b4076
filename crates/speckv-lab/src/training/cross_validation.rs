//! Chooses each head by its quality on prompts that it was not trained on.

use std::collections::HashMap;

use speckv::{
    predictor::{Head, Metrics, Mlp, Predictor, Question, sigmoid},
    record::Source,
};

use super::{Example, FEWEST_EXAMPLES, Kind, TrainOptions, train};

/// Share by which a head must lower the held-out log loss to be taken in place of a simpler one: a
/// perceptron has twenty times the weights of a logistic head.
const WORTH: f64 = 0.005;

/// Examples of one prompt with what they are grouped by.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptExamples {
    /// The prompt's id: all that bear it are in one part of a split.
    pub id: String,
    /// The prompt's task: every part of a split gets prompts of every task.
    pub task: String,
    /// The examples.
    pub examples: Vec<Example>,
}

/// Quality of one head on prompts that it was not trained on.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct HeadReport {
    /// The source that drafts.
    pub source: Source,
    /// The question.
    pub question: Question,
    /// Examples trained on, all prompts together.
    pub examples: usize,
    /// Logistic regression.
    pub logistic: Option<Quality>,
    /// Perceptron.
    pub mlp: Option<Quality>,
    /// The prior, which knows no data.
    pub prior: Option<Quality>,
    /// `logistic`, `mlp`, or `prior` where that is best or there are too few examples.
    pub chosen: &'static str,
}

/// Metrics with the gain over a constant.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Quality {
    /// Calibration, Brier score, log loss, area under the curve.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Share of the constant's log loss that is saved.
    pub gain_over_constant: f64,
}

impl Quality {
    fn of(pairs: &[(f32, bool)]) -> Option<Self> {
        Metrics::of(pairs)
            .map(|metrics| Quality { metrics, gain_over_constant: metrics.gain_over_constant() })
    }
}

/// Weights with their report.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The weights, fitted to all prompts.
    pub predictor: Predictor,
    /// Their quality, from cross-validation.
    pub heads: Vec<HeadReport>,
}

/// Fits logistic and perceptron heads, compares them and the prior by cross-validation over prompts
/// in `folds` parts, and fits the best kind of each head to all prompts. Weights are rounded to
/// five digits. The perceptron must be clearly better to be taken: it has twenty times the weights.
#[must_use]
pub fn fit(prompts: &[PromptExamples], folds: usize, options: &TrainOptions) -> Trained {
    let folds = folds.clamp(2, prompts.len().max(2));
    let prior = Predictor::prior();
    let parts = parts(prompts, folds);
    let mut held_out: Vec<Outcomes> = heads().map(|_| Outcomes::default()).collect();
    for fold in 0..folds {
        let inside = |wanted: bool| -> Vec<Example> {
            let chosen = prompts.iter().zip(&parts).filter(|(_, part)| (**part == fold) == wanted);
            chosen.flat_map(|(prompt, _)| prompt.examples.iter().copied()).collect()
        };
        let (learned, asked) = (inside(false), inside(true));
        let logistic = train(&learned, Kind::Logistic, &prior, options);
        let mlp = train(&learned, Kind::Mlp, &prior, options);
        for ((source, question), outcomes) in heads().zip(&mut held_out) {
            for (pairs, predictor) in [
                (&mut outcomes.logistic, &logistic),
                (&mut outcomes.mlp, &mlp),
                (&mut outcomes.prior, &prior),
            ] {
                pairs.extend(answers(predictor, source, question, &asked));
            }
        }
    }
    let all: Vec<Example> =
        prompts.iter().flat_map(|prompt| prompt.examples.iter().copied()).collect();
    let (logistic, mlp) =
        (train(&all, Kind::Logistic, &prior, options), train(&all, Kind::Mlp, &prior, options));
    let mut predictor = prior;
    let mut reports = Vec::new();
    for ((source, question), outcomes) in heads().zip(held_out) {
        let examples = all
            .iter()
            .filter(|example| (example.source, example.question) == (source, question))
            .count();
        let (line, curve) = (Quality::of(&outcomes.logistic), Quality::of(&outcomes.mlp));
        let loss = |quality: Option<Quality>| {
            quality.map_or(f64::INFINITY, |quality| quality.metrics.log_loss)
        };
        let prior = Quality::of(&outcomes.prior);
        let simple = if loss(line) < loss(prior) { ("logistic", line) } else { ("prior", prior) };
        let chosen = match examples < FEWEST_EXAMPLES {
            true => "prior",
            false if loss(curve) < (1.0 - WORTH) * loss(simple.1) => "mlp",
            false => simple.0,
        };
        match chosen {
            "mlp" => predictor.set_head(source, question, rounded(mlp.head(source, question))),
            "logistic" => {
                predictor.set_head(source, question, rounded(logistic.head(source, question)))
            }
            _ => {}
        }
        reports.push(HeadReport {
            source,
            question,
            examples,
            logistic: line,
            mlp: curve,
            prior,
            chosen,
        });
    }
    Trained { predictor, heads: reports }
}

/// Quality of ready weights on some prompts, per head.
#[must_use]
pub fn judge(
    predictor: &Predictor,
    prompts: &[PromptExamples],
) -> Vec<(Source, Question, Option<Quality>)> {
    let all: Vec<Example> =
        prompts.iter().flat_map(|prompt| prompt.examples.iter().copied()).collect();
    heads()
        .map(|(source, question)| {
            let pairs: Vec<(f32, bool)> = answers(predictor, source, question, &all).collect();
            (source, question, Quality::of(&pairs))
        })
        .collect()
}

/// Probabilities with outcomes on held-out prompts.
#[derive(Default)]
struct Outcomes {
    logistic: Vec<(f32, bool)>,
    mlp: Vec<(f32, bool)>,
    prior: Vec<(f32, bool)>,
}

fn heads() -> impl Iterator<Item = (Source, Question)> {
    [Source::MODEL, Source::NGRAM]
        .into_iter()
        .flat_map(|source| Question::ALL.map(|question| (source, question)))
}

fn answers(
    predictor: &Predictor,
    source: Source,
    question: Question,
    examples: &[Example],
) -> impl Iterator<Item = (f32, bool)> {
    let head = predictor.head(source, question);
    let asked = examples
        .iter()
        .filter(move |example| (example.source, example.question) == (source, question));
    asked.map(|example| (sigmoid(head.score(&example.features)), example.accepted))
}

/// Which part each prompt is in: prompts of a task are dealt out in order, each id once.
fn parts(prompts: &[PromptExamples], folds: usize) -> Vec<usize> {
    let mut dealt: Vec<(&str, usize)> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    prompts
        .iter()
        .map(|prompt| {
            if let Some(&part) = known.get(prompt.id.as_str()) {
                return part;
            }
            let index =
                dealt.iter().position(|(task, _)| *task == prompt.task).unwrap_or_else(|| {
                    // The next task begins where the last one ended, so that few prompts per task
                    // still fill every part.
                    let first = dealt.last().map_or(0, |(_, count)| *count);
                    dealt.push((&prompt.task, first));
                    dealt.len() - 1
                });
            let part = dealt[index].1 % folds;
            dealt[index].1 += 1;
            known.insert(&prompt.id, part);
            part
        })
        .collect()
}

/// Five digits are more than the data knows, and a file of a third of the size.
fn rounded(head: &Head) -> Head {
    let digits = |weight: f32| format!("{weight:.4e}").parse().unwrap_or(weight);
    let all = |weights: &[f32]| weights.iter().map(|&weight| digits(weight)).collect();
    match head {
        Head::Logistic { weights } => Head::Logistic { weights: all(weights) },
        Head::Mlp(mlp) => Head::Mlp(Mlp {
            hidden: all(&mlp.hidden),
            hidden_bias: all(&mlp.hidden_bias),
            output: all(&mlp.output),
            output_bias: digits(mlp.output_bias),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_of_one_prompt_stay_together_and_every_part_gets_prompts_of_every_task() {
        let prompts: Vec<PromptExamples> = (0..3)
            .flat_map(|_| (0..8).map(|prompt| (prompt, if prompt < 4 { "chat" } else { "code" })))
            .map(|(prompt, task)| PromptExamples {
                id: format!("{task}-{prompt}"),
                task: task.into(),
                examples: vec![],
            })
            .collect();
        let parts = parts(&prompts, 4);
        assert_eq!((&parts[..8], &parts[..8]), (&parts[8..16], &parts[16..]));
        for task in ["chat", "code"] {
            let mut here: Vec<usize> = prompts[..8]
                .iter()
                .zip(&parts)
                .filter(|(prompt, _)| prompt.task == task)
                .map(|(_, &part)| part)
                .collect();
            here.sort_unstable();
            assert_eq!(here, [0, 1, 2, 3], "{task}");
        }
    }
}
