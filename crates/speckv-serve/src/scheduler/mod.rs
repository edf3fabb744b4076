//! One thread owns the engine and steps everything that runs, together.
//!
//! Between two steps requests join and leave. A step is the engine's: each sequence decides, drafts
//! are made in rounds, and one pass verifies them all and reads a chunk of the new prompts. What
//! the pass costs each of them is in [`speckv::cost::SharedPass`].

#![expect(clippy::disallowed_methods, reason = "requests have arrival times and deadlines")]

mod admission;
mod chunks;
mod handle;
mod job;
mod pool;
mod predicted;
mod queue;
mod running;
mod sharing;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use handle::Status;
pub use handle::{Handle, Order, Place, Refusal};
pub use job::{Done, Event, Fault, Job, Likelihood, News, Origin, Speculation, Spoken, Step};
pub use pool::Pool;
pub use predicted::Predicted;
pub use queue::FairQueue;
pub(crate) use running::Delivered;
use running::Running;
use speckv::{
    cost::CostModel,
    draft::DraftError,
    engine::{Engine, EngineError, ReadLimits, Sequence},
    model::{LanguageModel, ModelError},
};
use speckv_local::controllers::ControllerParts;

use crate::{language::Language, metrics::Metrics};

/// Time between two readings of energy while nothing runs.
const ENERGY_EVERY: Duration = Duration::from_secs(60);

/// Time between readings of the counter of energy while answers are made: a reading is a
/// file, and of a GPU a call of its driver.
const ENERGY_EVERY_BUSY: Duration = Duration::from_secs(1);

/// What the scheduler may do.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Most answers that are made together.
    pub most_running: usize,
    /// Most sequences in memory, those that are kept between requests included; at least
    /// `most_running`.
    pub most_sequences: usize,
    /// Bytes of keys and values of one sequence, target and draft.
    pub sequence_bytes: u64,
    /// Rows of prompts in a pass that others share.
    pub chunk: usize,
    /// Rows of prompts in a pass for which no other answer waits.
    pub chunk_alone: usize,
}

/// The scheduler's state; lives on its thread.
struct Scheduler<M: LanguageModel> {
    engine: Engine<M>,
    language: Arc<dyn Language>,
    parts: ControllerParts,
    cost: CostModel,
    rules: Rules,
    metrics: Arc<Metrics>,
    status: Status,
    orders: Receiver<Order>,
    queue: FairQueue<Box<Job>>,
    running: Vec<Running<M>>,
    pool: Pool<M>,
    stop: Option<Instant>,
}

/// Starts the scheduler's thread. It ends after [`Handle::stop`], when nothing runs any more or its
/// deadline has passed, and gives the engine back, or nothing where the scheduler failed.
///
/// # Errors
/// The system's, if it cannot start a thread.
pub fn start<M: LanguageModel + 'static>(
    engine: Engine<M>,
    language: Arc<dyn Language>,
    parts: ControllerParts,
    rules: Rules,
    metrics: Arc<Metrics>,
    handle: &Handle,
    orders: Receiver<Order>,
) -> std::io::Result<JoinHandle<Option<Engine<M>>>> {
    let status = handle.status();
    std::thread::Builder::new().name("speckv-scheduler".into()).spawn(move || {
        let ended = status.clone();
        let scheduler = Scheduler {
            cost: parts.cost.clone(),
            engine,
            language,
            parts,
            rules,
            metrics,
            status,
            orders,
            queue: FairQueue::default(),
            running: Vec::new(),
            pool: Pool::default(),
            stop: None,
        };
        let metrics = Arc::clone(&scheduler.metrics);
        metrics.remembered(scheduler.engine.lookup_memory());
        let engine = contained(&metrics, || scheduler.work());
        ended.set_ended();
        engine.inspect_err(|fault| tracing::error!(%fault, "the scheduler failed")).ok()
    })
}

impl<M: LanguageModel + 'static> Scheduler<M> {
    fn work(mut self) -> Engine<M> {
        let mut energy_read = Instant::now();
        while self.listen() {
            self.sweep();
            self.admit();
            self.report();
            if !self.running.is_empty() {
                self.step();
                let now = Instant::now();
                if now - energy_read >= ENERGY_EVERY_BUSY {
                    self.metrics.spent(true, now);
                    energy_read = now;
                }
                self.report();
            } else if self.stop.is_some() && self.queue.is_empty() {
                break;
            }
        }
        self.engine
    }

    /// Takes in orders; waits for one if there is nothing to do. `false` when no more can come.
    fn listen(&mut self) -> bool {
        let idle = self.running.is_empty() && self.queue.is_empty() && self.stop.is_none();
        if idle {
            match self.wait() {
                Some(order) => self.take(order),
                None => return false,
            }
        }
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.take(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => {
                    return !(self.running.is_empty() && self.queue.is_empty());
                }
            }
        }
    }

    /// Waits for an order; `None` when no more can come. Counters of energy begin again after a
    /// while, so they are read in between.
    fn wait(&mut self) -> Option<Order> {
        self.metrics.spent(true, Instant::now());
        if !self.metrics.counts_energy() {
            return self.orders.recv().ok();
        }
        let order = loop {
            match self.orders.recv_timeout(ENERGY_EVERY) {
                Ok(order) => break Some(order),
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) => self.metrics.spent(false, Instant::now()),
            }
        };
        self.metrics.spent(false, Instant::now());
        order
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Make(job) => self.queue.push(job.client, job),
            Order::Stop(deadline) => {
                self.stop = Some(self.stop.map_or(deadline, |before| before.min(deadline)))
            }
        }
    }

    /// Cancels abandoned and expired jobs.
    fn sweep(&mut self) {
        let now = Instant::now();
        let stopped = self.stop.is_some_and(|deadline| deadline <= now);
        for job in
            self.queue.extract(|job| stopped || job.deadline <= now || job.events.is_closed())
        {
            let (why, fault) = match (job.events.is_closed(), stopped) {
                (true, _) => ("abandoned", Fault::Late), // its client is not there to read it
                (false, true) => ("stopping", Fault::Stopping),
                (false, false) => ("late", Fault::Late),
            };
            self.metrics.failed(why);
            running::refuse(&job, fault);
        }
        let mut index = 0;
        while index < self.running.len() {
            let running = &self.running[index];
            let end = if running.is_abandoned() {
                Some(("abandoned", None))
            } else if stopped {
                Some(("stopping", Some(Fault::Stopping)))
            } else if running.deadline <= now {
                Some(("late", Some(Fault::Late)))
            } else {
                None
            };
            let Some((why, fault)) = end else {
                index += 1;
                continue;
            };
            self.metrics.failed(why);
            tracing::info!(request = %running.request, tokens = running.sequence.generated(), why, "answer ended early");
            let running = self.running.remove(index);
            if let Some(fault) = fault {
                running.fail(fault);
            }
            self.pool.rest(running.scope, running.sequence);
        }
    }

    /// One step of everything that runs. A panic or an error is taken back, and each answer takes
    /// the step alone: only those that fail alone end.
    fn step(&mut self) {
        self.share_reading();
        self.limit_reading();
        let stepping: Vec<usize> =
            (0..self.running.len()).filter(|&index| !self.running[index].waits).collect();
        let active = self.running.iter_mut().filter(|running| !running.waits);
        let mut slice: Vec<&mut Sequence<M>> =
            active.map(|running| &mut running.sequence).collect();
        let outcome = guarded(&self.metrics, || self.engine.step(&mut slice));
        if outcome.is_err() {
            self.engine.recover(&mut slice);
        }
        drop(slice);
        match (outcome, stepping.as_slice()) {
            (Ok(()), stepping) => {
                self.learn();
                stepping.iter().rev().for_each(|&index| self.deliver(index, stepping.len()));
            }
            (Err(fault), &[alone]) => self.fail(alone, fault),
            (Err(fault), stepping) => {
                tracing::warn!(%fault, sequences = stepping.len(), "a shared step failed; each \
                    answer steps alone");
                stepping.iter().rev().for_each(|&index| self.step_alone(index));
            }
        }
    }

    fn step_alone(&mut self, index: usize) {
        let mut alone = [&mut self.running[index].sequence];
        match guarded(&self.metrics, || self.engine.step(&mut alone)) {
            Ok(()) => self.deliver(index, 1),
            Err(fault) => {
                self.engine.recover(&mut alone);
                self.fail(index, fault);
            }
        }
    }

    /// Shares the rows that a pass may read among the sequences that have something to read.
    fn limit_reading(&mut self) {
        let active = || self.running.iter().filter(|running| !running.waits);
        let unread: Vec<usize> = active().map(|running| running.sequence.unread()).collect();
        let readers: Vec<usize> = unread.iter().copied().filter(|&unread| unread > 0).collect();
        let one_decodes = readers.len() < unread.len();
        let budget = if one_decodes { self.rules.chunk } else { self.rules.chunk_alone };
        let draft = chunks::draft_share(unread.len(), &self.rules);
        let mut shares = chunks::shares(&readers, budget).into_iter();
        for (running, unread) in
            self.running.iter_mut().filter(|running| !running.waits).zip(unread)
        {
            let target = if unread > 0 { shares.next().unwrap_or(1) } else { 1 };
            running.sequence.set_read_limits(ReadLimits { target, draft });
        }
    }

    /// Corrects the measured costs for later answers.
    fn learn(&mut self) {
        let pass = self.engine.last_pass();
        self.metrics.passed(&pass);
        let failures = self.engine.draft_failures();
        if self.metrics.draft_failed(failures.count) {
            let why = failures.last.as_deref().unwrap_or_default();
            tracing::warn!(why, "the draft model failed; an answer goes on without drafting");
        }
        for round in self.engine.last_rounds() {
            self.cost.observe_round(round.rows, round.context, round.seconds);
        }
        if pass.reading > 0 || pass.rows == 0 {
            return; // rows that are only read have no logits and cost less
        }
        match self.running.as_slice() {
            // no sequence waits where none reads
            [alone] => self.cost.observe(alone.sequence.record()),
            _ => self.cost.observe_pass(pass.rows, pass.context, pass.seconds),
        }
    }

    /// Sends a client what its step made; `together`: sequences that shared the step's pass.
    fn deliver(&mut self, index: usize, together: usize) {
        let running = &mut self.running[index];
        match contained(&self.metrics, || running.deliver(together)) {
            Ok(None) => {}
            Ok(Some(delivered)) => {
                self.metrics.stepped(running.sequence.record(), &delivered, running.age());
                if let Some(done) = delivered.done {
                    tracing::info!(
                        request = %running.request,
                        prompt_tokens = done.prompt_tokens,
                        cached_tokens = done.cached_tokens,
                        tokens = done.tokens,
                        drafted = done.drafted,
                        accepted = done.accepted,
                        waited_ms = done.waited.as_millis() as u64,
                        reading_ms = done.reading.as_millis() as u64,
                        speaking_ms = done.speaking.as_millis() as u64,
                        controller = done.controller,
                        "answer complete"
                    );
                    let running = self.running.remove(index);
                    self.engine.remember(&running.sequence);
                    self.metrics.remembered(self.engine.lookup_memory());
                    // Last, so that a client that has its answer finds it in the metrics.
                    running.complete(done);
                    self.pool.rest(running.scope, running.sequence);
                }
            }
            Err(fault) => self.fail(index, fault),
        }
    }

    /// Ends an answer that broke something; its state is thrown away.
    fn fail(&mut self, index: usize, fault: Fault) {
        let running = self.running.remove(index);
        tracing::error!(request = %running.request, %fault, "answer failed");
        self.metrics.failed("broken");
        running.fail(fault);
        self.engine.close(running.sequence);
    }

    /// Publishes the state.
    fn report(&self) {
        self.status.set_running(self.running.len());
        let sequences = (self.running.len() + self.pool.len()) as u64;
        let positions = self.running.iter().map(|running| running.sequence.read()).sum::<usize>()
            + self.pool.positions();
        self.metrics.state(
            self.running.len(),
            self.status.waiting(),
            sequences * self.rules.sequence_bytes,
            self.rules.most_sequences as u64 * self.rules.sequence_bytes,
            positions,
        );
    }
}

/// Runs what may panic; a panic is counted and becomes a fault.
fn contained<T>(metrics: &Metrics, work: impl FnOnce() -> T) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        metrics.panicked();
        Fault::Internal(format!("panic: {}", words(&*panic)))
    })
}

/// Runs work of the engine's; a panic becomes a fault, as an error does.
fn guarded<T>(
    metrics: &Metrics,
    work: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, Fault> {
    contained(metrics, work)?.map_err(|error| {
        if is_memory(&error) {
            Fault::Memory(error.to_string())
        } else {
            Fault::Internal(chain(&error))
        }
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

fn is_memory(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Model(ModelError::OutOfMemory { .. })
            | EngineError::Draft(DraftError::Model(ModelError::OutOfMemory { .. }))
    )
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
