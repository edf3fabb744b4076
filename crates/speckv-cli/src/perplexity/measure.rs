//! Models over windows.
//!
//! Target and reference read the same `CHUNK` tokens in turn; their logits are compared and
//! forgotten. Memory is the weights of both, a window's keys and values, and `CHUNK` rows of logits
//! on the host for each, however long the text is.

use std::sync::Mutex;

use speckv::{
    logits::Logits,
    model::{Cache, Feed, LanguageModel, ModelError, PassOutput},
    token::Token,
};
use speckv_cpu::pool::Pool;

use super::{Plan, Row};

/// Positions whose logits are in memory together.
const CHUNK: usize = 32;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A pass failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Logits that are not numbers.
    #[error("the logits before token {token} of the text are not numbers")]
    NotNumbers {
        /// Number of the token.
        token: usize,
    },
    /// The user asked to stop.
    #[error("stopped after {done} of {total} tokens")]
    Stopped {
        /// Tokens scored.
        done: usize,
        /// Tokens to score.
        total: usize,
    },
}

/// One model with its state.
struct Reader<'a, M: LanguageModel> {
    model: &'a M,
    cache: M::Cache,
    output: M::Output,
    logits: Logits, // the rows of the last pass, for all threads
}

impl<'a, M: LanguageModel> Reader<'a, M> {
    fn new(model: &'a M) -> Result<Self, ModelError> {
        let (cache, output) = (model.new_cache()?, model.new_output());
        Ok(Reader { model, cache, output, logits: Logits::new() })
    }

    fn read(&mut self, tokens: &[Token], rows: usize) -> Result<(), ModelError> {
        self.model.forward(&mut [Feed::new(&mut self.cache, tokens, rows)], &mut self.output)?;
        self.logits.reshape(rows, self.output.vocab_size());
        for row in 0..rows {
            self.logits.row_mut(row).copy_from_slice(self.output.logits(row)?);
        }
        Ok(())
    }
}

/// Scores a text, in its order: one row per token that [`Plan::windows`] scores. `bos` begins every
/// window if the plan says so. `progress` gets the tokens scored so far and says whether to go on.
///
/// # Errors
/// See [`MeasureError`].
pub fn measure<M: LanguageModel>(
    target: &M,
    reference: Option<&M>,
    text: &[Token],
    plan: &Plan,
    bos: Option<Token>,
    pool: &Pool,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Vec<Row>, MeasureError> {
    let windows = plan.windows(text.len());
    let total = windows.iter().map(|window| window.scored.len()).sum();
    let mut target = Reader::new(target)?;
    let mut reference = reference.map(Reader::new).transpose()?;
    let mut rows: Vec<Row> = Vec::with_capacity(total);
    let mut input = Vec::new();
    for window in windows {
        input.clear();
        input.extend(bos.filter(|_| plan.begins));
        let own = input.len();
        // The last token is predicted, not read.
        input.extend_from_slice(&text[window.tokens.start..window.tokens.end - 1]);
        let first = own + window.scored.start - window.tokens.start - 1;
        for reader in std::iter::once(&mut target).chain(&mut reference) {
            reader.cache.truncate(0);
            if first > 0 {
                reader.read(&input[..first], 0)?;
            }
        }
        for chunk in input[first..].chunks(CHUNK) {
            for reader in std::iter::once(&mut target).chain(&mut reference) {
                reader.read(chunk, chunk.len())?;
            }
            // Scored tokens are neighbours, and without a token of the model's own the first one is
            // not scored.
            let next = rows.len() + 1 - usize::from(plan.begins);
            let comparison = Comparison {
                target: &target.logits,
                reference: reference.as_ref().map(|r| &r.logits),
            };
            comparison.rows(&text[next..next + chunk.len()], next, pool, &mut rows)?;
            if !progress(rows.len(), total) {
                return Err(MeasureError::Stopped { done: rows.len(), total });
            }
        }
    }
    Ok(rows)
}

/// Logits of the same positions.
struct Comparison<'a> {
    target: &'a Logits,
    reference: Option<&'a Logits>,
}

impl Comparison<'_> {
    /// Appends the rows of `tokens`, the first of which is number `first` of the text, computed on
    /// all threads.
    fn rows(
        &self,
        tokens: &[Token],
        first: usize,
        pool: &Pool,
        rows: &mut Vec<Row>,
    ) -> Result<(), MeasureError> {
        let found: Vec<Mutex<Option<Row>>> = tokens.iter().map(|_| Mutex::new(None)).collect();
        pool.run(tokens.len(), &|i, _| {
            let row = Row::of(
                self.target.row(i),
                self.reference.map(|logits| logits.row(i)),
                tokens[i] as usize,
            );
            if let Ok(mut found) = found[i].lock() {
                *found = row;
            }
        });
        for (i, row) in found.into_iter().enumerate() {
            let row = row.into_inner().ok().flatten();
            rows.push(row.ok_or(MeasureError::NotNumbers { token: first + i })?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, sync::Arc};

    use speckv_cpu::model::{CpuModel, LoadOptions};
    use speckv_formats::{gguf::Gguf, quant::TensorType, tiny::Tiny};

    use super::*;

    fn model(tiny: &Tiny, pool: &Arc<Pool>) -> CpuModel {
        let file = Arc::new(Gguf::from_bytes(tiny.to_bytes().unwrap()).unwrap());
        CpuModel::load(&file, &LoadOptions::new(Arc::clone(pool)), &mut |_| {}).unwrap()
    }

    fn surprises(rows: &[Row]) -> Vec<f64> {
        rows.iter().map(|row| row.surprise).collect()
    }

    #[test]
    fn windows_change_nothing_but_the_context() {
        let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
        let model = model(&Tiny::default(), &pool);
        let text: Vec<Token> = (0..150u32).map(|i| (i * 31 + i * i) % 250).collect();
        for (window, stride, begins) in [(200, 100, false), (40, 13, false), (40, 38, true)] {
            let plan = Plan { window, stride, begins };
            let rows =
                measure(&model, None, &text, &plan, Some(256), &pool, &mut |_, _| true).unwrap();
            let mut logits = Logits::new();
            let mut expected = Vec::new();
            for window in plan.windows(text.len()) {
                for scored in window.scored {
                    let context: Vec<Token> = begins
                        .then_some(256)
                        .into_iter()
                        .chain(text[window.tokens.start..scored].iter().copied())
                        .collect();
                    let mut cache = model.new_cache().unwrap();
                    model.forward(&mut [Feed::new(&mut cache, &context, 1)], &mut logits).unwrap();
                    expected.push(
                        Row::of(logits.row(0), None, text[scored] as usize).unwrap().surprise,
                    );
                }
            }
            assert_eq!(surprises(&rows), expected, "{plan:?}");
        }
    }

    #[test]
    fn a_model_agrees_with_itself_and_its_compressed_copy_nearly_does() {
        let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
        let of = |tensor_type, seed| model(&Tiny { tensor_type, seed, ..Tiny::default() }, &pool);
        let (exact, coarse, other) =
            (of(TensorType::F32, 1), of(TensorType::Q4_0, 1), of(TensorType::F32, 2));
        let text: Vec<Token> = (0..120u32).map(|i| (i * 31 + i * i) % 250).collect();
        let plan = Plan { window: 64, stride: 32, begins: false };
        let mean = |target: &CpuModel, reference: &CpuModel| {
            let rows =
                measure(target, Some(reference), &text, &plan, None, &pool, &mut |_, _| true)
                    .unwrap();
            let against: Vec<_> = rows.iter().map(|row| row.against.unwrap()).collect();
            let agreed = against.iter().filter(|against| against.same_top).count();
            (
                against.iter().map(|against| against.divergence).sum::<f64>() / rows.len() as f64,
                agreed,
            )
        };
        assert_eq!(mean(&exact, &exact), (0.0, 119));
        let (near, far) = (mean(&coarse, &exact), mean(&other, &exact));
        assert!(near.0 > 1e-4 && near.0 < far.0 / 3.0 && near.1 > far.1, "{near:?} {far:?}");
    }

    #[test]
    fn it_stops_when_asked() {
        let pool = Arc::new(Pool::new(NonZeroUsize::MIN).unwrap());
        let model = model(&Tiny::default(), &pool);
        let plan = Plan { window: 64, stride: 32, begins: false };
        let stopped =
            measure(&model, None, &[1; 200], &plan, None, &pool, &mut |done, _| done < 60);
        assert!(
            matches!(stopped, Err(MeasureError::Stopped { done: 63, total: 199 })),
            "{stopped:?}"
        );
    }
}
