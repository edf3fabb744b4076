//! Reading the clock around passes.

#![expect(clippy::disallowed_methods, reason = "measures how long work takes")]

use std::time::Instant;

use speckv::model::{Cache, Feed, LanguageModel, ModelError};

use super::{
    plan::{Item, MOST_ROWS, Plan, Text},
    read_buffer::ReadMemory,
    spread::Spread,
};

/// What was timed, by round.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// Bytes read per second, `[rounds]`: the median of a round's reads.
    pub read_rates: Vec<f64>,
    /// Seconds of passes, `[contexts][rows - 1][rounds]`.
    pub passes: Vec<Vec<Vec<f64>>>,
    /// Seconds of prompts, `[prompts][rounds]`.
    pub prompts: Vec<Vec<f64>>,
}

/// Why a measurement ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A pass failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The caller did not want to go on.
    #[error("stopped after {done} of {total} measurements")]
    Stopped {
        /// Measurements done.
        done: u64,
        /// Measurements planned.
        total: u64,
    },
}

/// A model between two measurements: every cache is as long as its context.
struct Bench<'a, M: LanguageModel> {
    model: &'a M,
    memory: &'a dyn ReadMemory,
    plan: &'a Plan,
    text: Text,
    caches: Vec<M::Cache>,
    /// For prompts; empty between them.
    fresh: M::Cache,
    output: M::Output,
}

/// Times everything in `plan`, in rounds, after one round that is thrown away: it touches all
/// memory for the first time. `at(done, total)` is told how far it is and says whether to go on.
///
/// # Errors
/// See [`MeasureError`].
pub fn measure<M: LanguageModel>(
    model: &M,
    memory: &dyn ReadMemory,
    plan: &Plan,
    at: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Samples, MeasureError> {
    let mut samples = Samples {
        read_rates: Vec::new(),
        passes: vec![vec![Vec::new(); MOST_ROWS]; plan.contexts.len()],
        prompts: vec![Vec::new(); plan.prompts.len()],
    };
    let total = (plan.round(0).len() * (plan.rounds + 1)) as u64;
    let mut done = 0;
    let mut step = || {
        if at(done, total) {
            done += 1;
            Ok(())
        } else {
            Err(MeasureError::Stopped { done, total })
        }
    };
    step()?;
    let mut bench = Bench::new(model, memory, plan)?;
    for round in 0..=plan.rounds {
        let mut rates = Vec::new();
        for (number, item) in plan.round(round).into_iter().enumerate() {
            if round + number > 0 {
                step()?;
            }
            let seconds = bench.time(item)?;
            match item {
                Item::Read => rates.push(memory.byte_len() as f64 / seconds),
                _ if round == 0 => {}
                Item::Pass { context, rows } => samples.passes[context][rows - 1].push(seconds),
                Item::Prompt { prompt } => samples.prompts[prompt].push(seconds),
            }
        }
        if round > 0 {
            samples.read_rates.push(Spread::of(rates).median);
        }
    }
    Ok(samples)
}

impl<'a, M: LanguageModel> Bench<'a, M> {
    fn new(model: &'a M, memory: &'a dyn ReadMemory, plan: &'a Plan) -> Result<Self, MeasureError> {
        let mut text = Text::new(model.vocab_size());
        let mut output = model.new_output();
        let mut caches = Vec::new();
        for &context in &plan.contexts {
            let mut cache = model.new_cache()?;
            let tokens = text.next(context);
            model.forward(&mut [Feed::new(&mut cache, &tokens, 0)], &mut output)?;
            caches.push(cache);
        }
        Ok(Bench { model, memory, plan, text, caches, fresh: model.new_cache()?, output })
    }

    /// Seconds of one item.
    fn time(&mut self, item: Item) -> Result<f64, ModelError> {
        let (cache, keep, count, rows) = match item {
            Item::Read => {
                let rate = self.memory.rate()?;
                return Ok(self.memory.byte_len() as f64 / rate);
            }
            Item::Pass { context, rows } => {
                (&mut self.caches[context], self.plan.contexts[context], rows, rows)
            }
            Item::Prompt { prompt } => (&mut self.fresh, 0, self.plan.prompts[prompt], 1),
        };
        let tokens = self.text.next(count);
        let start = Instant::now();
        self.model.forward(&mut [Feed::new(&mut *cache, &tokens, rows)], &mut self.output)?;
        let seconds = start.elapsed().as_secs_f64();
        cache.truncate(keep);
        Ok(seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, sync::Arc};

    use speckv_cpu::{
        model::{CpuModel, LoadOptions},
        pool::Pool,
    };
    use speckv_formats::{gguf::Gguf, tiny::Tiny};

    use super::*;
    use crate::curve::read_buffer::{HostMemory, ReadBuffer};

    fn memory(pool: &Arc<Pool>) -> HostMemory {
        let buffer = ReadBuffer::new(plan().buffer_bytes).unwrap();
        HostMemory { buffer, pool: Arc::clone(pool) }
    }

    fn tiny(pool: &Arc<Pool>) -> CpuModel {
        let file = Arc::new(Gguf::from_bytes(Tiny::default().to_bytes().unwrap()).unwrap());
        CpuModel::load(&file, &LoadOptions::new(Arc::clone(pool)), &mut |_| {}).unwrap()
    }

    fn plan() -> Plan {
        Plan { contexts: vec![3, 40], prompts: vec![5, 33], rounds: 2, buffer_bytes: 1 << 20 }
    }

    #[test]
    fn every_item_has_one_sample_per_round() {
        let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
        let mut calls = Vec::new();
        let samples = measure(&tiny(&pool), &memory(&pool), &plan(), &mut |done, total| {
            calls.push((done, total));
            true
        })
        .unwrap();
        assert_eq!(samples.passes.len(), 2);
        assert!(samples.passes.iter().all(|rows| rows.len() == MOST_ROWS));
        let all =
            samples.passes.iter().flatten().chain(&samples.prompts).chain([&samples.read_rates]);
        for rounds in all {
            assert!(
                rounds.len() == 2
                    && rounds.iter().all(|&sample| sample > 0.0 && sample.is_finite()),
                "{rounds:?}"
            );
        }
        let items = plan().round(0).len() as u64 * 3;
        assert_eq!(calls, (0..items).map(|done| (done, items)).collect::<Vec<_>>());
    }

    #[test]
    fn after_each_item_every_cache_is_as_long_as_before() {
        let pool = Arc::new(Pool::new(NonZeroUsize::MIN).unwrap());
        let (model, plan, memory) = (tiny(&pool), plan(), memory(&pool));
        let mut bench = Bench::new(&model, &memory, &plan).unwrap();
        for item in plan.round(1) {
            bench.time(item).unwrap();
            assert_eq!(
                bench.caches.iter().map(Cache::len).collect::<Vec<_>>(),
                plan.contexts,
                "{item:?}"
            );
            assert_eq!(bench.fresh.len(), 0, "{item:?}");
        }
    }

    #[test]
    fn passes_ask_for_the_logits_of_all_rows_and_prompts_for_those_of_the_last() {
        let pool = Arc::new(Pool::new(NonZeroUsize::MIN).unwrap());
        let (model, plan, memory) = (tiny(&pool), plan(), memory(&pool));
        let mut bench = Bench::new(&model, &memory, &plan).unwrap();
        bench.time(Item::Pass { context: 1, rows: 9 }).unwrap();
        assert_eq!(bench.output.rows(), 9);
        bench.time(Item::Prompt { prompt: 1 }).unwrap();
        assert_eq!(bench.output.rows(), 1);
    }

    #[test]
    fn the_caller_can_stop_between_two_measurements() {
        let pool = Arc::new(Pool::new(NonZeroUsize::MIN).unwrap());
        let stopped = measure(&tiny(&pool), &memory(&pool), &plan(), &mut |done, _| done < 7);
        assert!(matches!(stopped, Err(MeasureError::Stopped { done: 7, .. })), "{stopped:?}");
    }
}
