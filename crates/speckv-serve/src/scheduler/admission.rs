//! The beginning of answers: which job leaves the queue, and with which sequence.

use std::sync::Arc;

use speckv::{
    engine::{Sequence, SequenceSettings},
    model::LanguageModel,
    predictor::SessionFacts,
};
use speckv_local::controllers::ControllerParts;

use super::{
    Scheduler, contained, guarded,
    job::{Fault, Job},
    running::{self, Prepared, Running, Speller},
};

impl<M: LanguageModel + 'static> Scheduler<M> {
    /// Begins what waits, as far as there is room.
    pub(super) fn admit(&mut self) {
        while self.running.len() < self.rules.most_running {
            let Some((client, job)) = self.queue.pop() else { return };
            match self.prepare(&job) {
                Ok(prepared) => {
                    let cached = prepared.cached;
                    let running = Running::begin(*job, prepared);
                    self.metrics.started(running.waited(), running.prompt_tokens, cached);
                    self.running.push(running);
                }
                // An answer that ends makes room.
                Err(Fault::Memory(_)) if !self.running.is_empty() => {
                    self.queue.push_front(client, job);
                    return;
                }
                Err(fault) => {
                    tracing::warn!(request = %job.request, %fault, "answer could not begin");
                    self.metrics.failed("refused");
                    running::refuse(&job, fault);
                }
            }
        }
    }

    /// What a job needs to run. A panic here ends only the job: what may fail without touching the
    /// engine comes first, so that no sequence is lost with it.
    fn prepare(&mut self, job: &Job) -> Result<Prepared<M>, Fault> {
        let (settings, decoder) = contained(&self.metrics, || {
            (self.settings(job), self.language.decoder(job.continues, job.stops.clone()))
        })?;
        let mut sequence = self.sequence(job, settings)?;
        if job.reuse
            && let Err(fault) = self.copy_for(job.scope, &mut sequence)
        {
            self.engine.close(sequence);
            return Err(fault);
        }
        // A request that shares nothing neither finds earlier answers nor is found.
        self.engine.set_scope(&sequence, job.reuse.then_some(job.scope));
        self.engine.predict(&sequence, job.prediction.as_deref().unwrap_or_default());
        sequence.set_likelihoods(job.logprobs);
        if let Some(constraints) = &job.constraints {
            let made = contained(&self.metrics, || constraints.make());
            match made {
                Ok(constraint) => sequence.constrain(Some(constraint)),
                Err(fault) => {
                    self.engine.close(sequence);
                    return Err(fault);
                }
            }
        }
        let speller = job.spells_control.then(|| Speller(Arc::clone(&self.language)));
        Ok(Prepared { cached: sequence.read(), sequence, decoder, speller })
    }

    /// A sequence for a job: a new one, or one that was kept.
    fn sequence(&mut self, job: &Job, settings: SequenceSettings) -> Result<Sequence<M>, Fault> {
        let room = self.running.len() + self.pool.len() < self.rules.most_sequences;
        let rested = match (job.reuse, room) {
            (true, _) => self.pool.take(job.scope, &job.prompt, room),
            (false, true) => None,
            (false, false) => self.pool.take_oldest(job.scope),
        };
        match rested {
            Some(rested) => self.renew(rested, job, settings),
            None => match guarded(&self.metrics, || self.engine.sequence(settings)) {
                Err(Fault::Memory(why)) => match self.pool.take_oldest(job.scope) {
                    Some(rested) => self.renew(rested, job, self.settings(job)),
                    None => Err(Fault::Memory(why)),
                },
                made => made,
            },
        }
    }

    fn renew(
        &mut self,
        mut rested: Sequence<M>,
        job: &Job,
        settings: SequenceSettings,
    ) -> Result<Sequence<M>, Fault> {
        let renewed = guarded(&self.metrics, || {
            if !job.reuse {
                rested.rewind(1);
            }
            self.engine.renew(&mut rested, settings)
        });
        match renewed {
            Ok(_) => Ok(rested),
            Err(fault) => {
                self.engine.close(rested);
                Err(fault)
            }
        }
    }

    fn settings(&self, job: &Job) -> SequenceSettings {
        let parts = ControllerParts {
            gamma: job.speculation.gamma,
            cost: self.cost.clone(),
            facts: SessionFacts { temperature: job.sampling.temperature, ..self.parts.facts },
            ..self.parts.clone()
        };
        SequenceSettings {
            prompt: job.prompt.to_vec(),
            sampling: job.sampling.clone(),
            end_tokens: running::end_tokens(job, &self.language),
            max_tokens: job.max_tokens,
            controller: job.speculation.drafting.restrict(job.speculation.controller.build(&parts)),
        }
    }
}
