//! Numbers for Prometheus: names as in vLLM and llama.cpp after the prefix `speckv:`.

mod energy;
mod labels;
mod register;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use speckv::{draft::TextMemory, engine::Pass, record::StepRecord};
use speckv_local::energy::NoCounter;

use self::{
    energy::EnergyMetrics,
    labels::{Answered, Position, Reason, Why},
    register::add,
};
use crate::energy::EnergyAccount;

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    running: Gauge,
    waiting: Gauge,
    kv_usage: Gauge<f64, AtomicU64>,
    kv_bytes: Gauge,
    kv_limit: Gauge,
    kv_positions: Gauge,
    memory_tokens: Gauge,
    memory_bytes: Gauge,
    prompt_tokens: Counter,
    prefix_queries: Counter,
    prefix_hits: Counter,
    generation_tokens: Counter,
    success: Family<Reason, Counter>,
    failed: Family<Why, Counter>,
    http: Family<Answered, Counter>,
    drafts: Counter,
    draft_tokens: Counter,
    accepted_tokens: Counter,
    forced_tokens: Counter,
    accepted_per_position: Family<Position, Counter>,
    drafted_per_step: Histogram,
    accepted_per_step: Histogram,
    passes: Counter,
    pass_seconds: Counter<f64, AtomicU64>,
    pass_rows: Histogram,
    pass_sequences: Histogram,
    first_token: Histogram,
    inter_token: Histogram,
    whole: Histogram,
    queued: Histogram,
    prompt_seconds: Counter<f64, AtomicU64>,
    predicted_seconds: Counter<f64, AtomicU64>,
    panics: Counter,
    draft_failures: Counter,
    energy: Option<EnergyMetrics>,
    last_usage: AtomicU64,
}

const SECONDS: [f64; 16] =
    [0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
const COUNTS: [f64; 12] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0, 256.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All numbers at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let r = &mut registry;
        let seconds = || Histogram::new(SECONDS);
        let counts = || Histogram::new(COUNTS);
        Metrics {
            running: add(r, "num_requests_running", "Answers being made", Gauge::default()),
            waiting: add(r, "num_requests_waiting", "Answers in the queue", Gauge::default()),
            kv_usage: add(
                r,
                "kv_cache_usage_perc",
                "Share of the memory for keys and values in use, 0 to 1",
                Gauge::default(),
            ),
            kv_bytes: add(
                r,
                "kv_cache_bytes",
                "Bytes of keys and values accounted for, kept sequences included",
                Gauge::default(),
            ),
            kv_limit: add(
                r,
                "kv_cache_limit_bytes",
                "Most bytes of keys and values",
                Gauge::default(),
            ),
            kv_positions: add(
                r,
                "kv_cache_tokens",
                "Tokens whose keys and values the target holds",
                Gauge::default(),
            ),
            memory_tokens: add(
                r,
                "lookup_memory_tokens",
                "Tokens of earlier answers that look-up finds",
                Gauge::default(),
            ),
            memory_bytes: add(
                r,
                "lookup_memory_bytes",
                "Bytes that these and their index take, about",
                Gauge::default(),
            ),
            prompt_tokens: add(r, "prompt_tokens", "Tokens of prompts", Counter::default()),
            prefix_queries: add(
                r,
                "prefix_cache_queries",
                "Tokens of prompts looked for among kept sequences",
                Counter::default(),
            ),
            prefix_hits: add(
                r,
                "prefix_cache_hits",
                "Tokens of prompts found there",
                Counter::default(),
            ),
            generation_tokens: add(r, "generation_tokens", "Tokens of answers", Counter::default()),
            success: add(r, "request_success", "Complete answers", Family::default()),
            failed: add(r, "request_failed", "Answers that ended early", Family::default()),
            http: add(r, "http_requests", "HTTP requests answered", Family::default()),
            drafts: add(r, "spec_decode_num_drafts", "Steps that drafted", Counter::default()),
            draft_tokens: add(
                r,
                "spec_decode_num_draft_tokens",
                "Tokens drafted",
                Counter::default(),
            ),
            accepted_tokens: add(
                r,
                "spec_decode_num_accepted_tokens",
                "Draft tokens accepted",
                Counter::default(),
            ),
            forced_tokens: add(
                r,
                "forced_tokens",
                "Tokens that a grammar forced, without a draft",
                Counter::default(),
            ),
            accepted_per_position: add(
                r,
                "spec_decode_num_accepted_tokens_per_pos",
                "Draft tokens accepted by position",
                Family::default(),
            ),
            drafted_per_step: add(
                r,
                "per_step_drafted",
                "Tokens drafted per step of a sequence",
                counts(),
            ),
            accepted_per_step: add(
                r,
                "per_step_accepted",
                "Draft tokens accepted per step of a sequence",
                counts(),
            ),
            passes: add(r, "n_decode", "Passes of the target", Counter::default()),
            pass_seconds: add(
                r,
                "decode_seconds",
                "Seconds of the target's passes",
                Counter::default(),
            ),
            pass_rows: add(r, "iteration_tokens", "Rows per pass of the target", counts()),
            pass_sequences: add(
                r,
                "n_busy_slots_per_decode",
                "Sequences per pass of the target",
                counts(),
            ),
            first_token: add(
                r,
                "time_to_first_token_seconds",
                "From the request to its first token",
                seconds(),
            ),
            inter_token: add(
                r,
                "inter_token_latency_seconds",
                "Seconds per token after the first, by step",
                seconds(),
            ),
            whole: add(
                r,
                "e2e_request_latency_seconds",
                "From the request to its last token",
                seconds(),
            ),
            queued: add(r, "request_queue_time_seconds", "Seconds in the queue", seconds()),
            prompt_seconds: add(
                r,
                "prompt_seconds",
                "Seconds from leaving the queue to the first token",
                Counter::default(),
            ),
            predicted_seconds: add(
                r,
                "tokens_predicted_seconds",
                "Seconds from the first token to the last",
                Counter::default(),
            ),
            panics: add(
                r,
                "panics",
                "Panics that were contained, in handlers and in steps; those that a retry made \
                 good are among them",
                Counter::default(),
            ),
            draft_failures: add(
                r,
                "draft_failures",
                "Answers for which drafting ended since the draft model failed",
                Counter::default(),
            ),
            energy: None,
            last_usage: AtomicU64::new(0),
            registry,
        }
    }

    /// Counts joules too. Where there is no counter, `speckv:energy_source` is 0 and its label says
    /// why; there are no joules then.
    #[must_use]
    pub fn with_energy(mut self, counted: Result<EnergyAccount, NoCounter>) -> Self {
        self.energy = EnergyMetrics::register(&mut self.registry, counted);
        self
    }

    /// Whether joules are counted.
    #[must_use]
    pub fn counts_energy(&self) -> bool {
        self.energy.is_some()
    }

    /// A time ended in which answers were made (`busy`) or none was. A counter that fails counts
    /// no more until it can be read again.
    pub fn spent(&self, busy: bool, now: Instant) {
        if let Some(energy) = &self.energy {
            energy.spent(busy, now);
        }
    }

    /// Everything as Prometheus reads it.
    ///
    /// # Errors
    /// The encoder's.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Content type of [`text`](Self::text).
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// An answer left the queue.
    pub fn started(&self, waited: Duration, prompt_tokens: usize, cached: usize) {
        self.queued.observe(waited.as_secs_f64());
        self.prompt_tokens.inc_by(prompt_tokens as u64);
        self.prefix_queries.inc_by(prompt_tokens as u64);
        self.prefix_hits.inc_by(cached as u64);
    }

    /// An answer waited until another one had read tokens of its prompt, and copied them.
    pub fn copied(&self, tokens: usize) {
        self.prefix_hits.inc_by(tokens as u64);
    }

    /// An answer ended early.
    pub fn failed(&self, reason: &str) {
        self.failed.get_or_create(&Why { reason: reason.to_owned() }).inc();
    }

    /// A pass of the target.
    pub fn passed(&self, pass: &Pass) {
        if pass.rows > 0 {
            self.passes.inc();
            self.pass_seconds.inc_by(pass.seconds);
            self.pass_rows.observe(pass.rows as f64);
            self.pass_sequences.observe(pass.sequences as f64);
        }
    }

    /// A step of one answer.
    pub(crate) fn stepped(
        &self,
        record: &StepRecord,
        delivered: &crate::scheduler::Delivered,
        age: Duration,
    ) {
        let branch = &record.branch;
        let drafted = record.drafted.len() + branch.tokens.len();
        let accepted = record.outcome.accepted + branch.accepted;
        self.drafted_per_step.observe(drafted as f64);
        if drafted > 0 {
            self.drafts.inc();
            self.draft_tokens.inc_by(drafted as u64);
            self.accepted_tokens.inc_by(accepted as u64);
            self.accepted_per_step.observe(accepted as f64);
            for position in 0..accepted as u64 {
                self.accepted_per_position.get_or_create(&Position { position }).inc();
            }
        }
        self.forced_tokens.inc_by(record.forced.places.len() as u64);
        self.generation_tokens.inc_by(delivered.tokens as u64);
        if delivered.is_first {
            self.first_token.observe(age.as_secs_f64());
        } else if delivered.tokens > 0 {
            self.inter_token.observe(delivered.gap.as_secs_f64() / delivered.tokens as f64);
        }
        if let Some(done) = &delivered.done {
            let reason = crate::api::finish_reason(done.reason).to_owned();
            self.success.get_or_create(&Reason { finished_reason: reason }).inc();
            self.whole.observe(age.as_secs_f64());
            self.prompt_seconds.inc_by(done.reading.as_secs_f64());
            self.predicted_seconds.inc_by(done.speaking.as_secs_f64());
        }
    }

    /// What look-up's memory of earlier answers holds.
    pub fn remembered(&self, memory: Option<&TextMemory>) {
        let usage = memory.map(TextMemory::usage).unwrap_or_default();
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.memory_tokens.set(whole(usage.tokens));
        self.memory_bytes.set(whole(usage.bytes));
    }

    /// How things stand.
    pub fn state(
        &self,
        running: usize,
        waiting: usize,
        kv_bytes: u64,
        kv_limit: u64,
        kv_positions: usize,
    ) {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.running.set(whole(running as u64));
        self.waiting.set(whole(waiting as u64));
        self.kv_bytes.set(whole(kv_bytes));
        self.kv_limit.set(whole(kv_limit));
        self.kv_positions.set(whole(kv_positions as u64));
        let usage = kv_bytes as f64 / kv_limit.max(1) as f64;
        self.kv_usage.set(usage);
        self.last_usage.store(usage.to_bits(), Ordering::Relaxed);
    }

    /// Share of the memory for keys and values in use, from 0 to 1.
    #[must_use]
    pub fn kv_usage(&self) -> f64 {
        f64::from_bits(self.last_usage.load(Ordering::Relaxed))
    }

    /// An HTTP request was answered. `path` is a route, never what a client made up.
    pub fn answered(&self, path: &str, status: u16) {
        self.http.get_or_create(&Answered { path: path.to_owned(), status: status.into() }).inc();
    }

    /// Something panicked, and the panic was contained.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// So many answers lost their draft so far; whether that is more than was known.
    pub fn draft_failed(&self, count: u64) -> bool {
        let known = self.draft_failures.get();
        self.draft_failures.inc_by(count.saturating_sub(known));
        count > known
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_vllm_after_the_prefix() {
        let metrics = Metrics::new();
        metrics.failed("late");
        metrics.answered("/health", 200);
        metrics.state(2, 3, 50, 100, 7);
        let text = metrics.text().expect("text");
        for name in [
            "speckv:num_requests_running 2",
            "speckv:num_requests_waiting 3",
            "speckv:kv_cache_usage_perc 0.5",
            "speckv:spec_decode_num_drafts_total 0",
            "speckv:spec_decode_num_draft_tokens_total 0",
            "speckv:spec_decode_num_accepted_tokens_total 0",
            "speckv:request_failed_total{reason=\"late\"} 1",
            "speckv:http_requests_total{path=\"/health\",status=\"200\"} 1",
            "speckv:time_to_first_token_seconds_bucket",
            "speckv:generation_tokens_total 0",
        ] {
            assert!(text.contains(name), "{name} is not in\n{text}");
        }
        assert_eq!(metrics.kv_usage(), 0.5);
    }
}
