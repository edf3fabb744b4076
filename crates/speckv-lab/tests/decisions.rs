//! Every controller takes the steps that it took when `decisions/steps.tsv` was written.
//!
//! A change that is meant to change no decision leaves the table as it is. A change that is meant
//! to change decisions writes it again: `cargo test -p speckv-lab --test decisions -- --ignored`
//! runs [`write_the_table`], the program that made it.
//!
//! The numbers depend on the last bits of the platform's `exp`, `ln` and `cos`; the table holds for
//! Linux on x86-64.

use std::{fmt::Write as _, path::PathBuf};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use speckv::{
    controller::{Controller, Drafting, Lookup, Situation},
    cost::{CostModel, Samples, SharedPass, TimeSample, VerifySample},
    predictor::SessionFacts,
    record::{Drafted, StepRecord, Times},
    signals::Signals,
    step::{Ending, Stepper},
};
use speckv_lab::{
    replay::replay,
    run_folder::RunFolder,
    synthetic::{self, Regime},
    trace::Trace,
};
use speckv_local::controllers::{ControllerParts, ControllerSpec};

/// Controllers by name, `NAME@ngram` restricted to look-up, `NAME^N` with a gamma of N.
const CONTROLLERS: [&str; 21] = [
    "off",
    "fixed",
    "fixed:7",
    "fixed@ngram",
    "confidence",
    "confidence:0.4",
    "heuristic",
    "entropy:svip",
    "entropy:svip:0.3",
    "entropy:adaedl",
    "ema",
    "expected-value",
    "adaptive-verification",
    "paper",
    "speckv",
    "speckv^30",
    "speckv^3",
    "speckv@model",
    "speckv@ngram",
    "chain+fixed:3",
    "chain+speckv",
];

fn controller(text: &str, cost: &CostModel) -> Box<dyn Controller> {
    let (name, drafting) = text.split_once('@').unwrap_or((text, "both"));
    let (name, gamma) =
        name.split_once('^').map_or((name, None), |(name, n)| (name, n.parse().ok()));
    let spec: ControllerSpec = name.parse().expect("a known name");
    let parts = ControllerParts {
        gamma,
        cost: cost.clone(),
        facts: SessionFacts { temperature: 0.0, compression: 0.7 },
        ..ControllerParts::default()
    };
    let drafting = match drafting {
        "model" => Drafting::Model,
        "ngram" => Drafting::Ngram,
        _ => Drafting::Both,
    };
    drafting.restrict(spec.build(&parts))
}

/// `draft` seconds per token; passes of 1 second and `more` seconds per further row.
fn cost(draft: f64, more: f64) -> CostModel {
    let verify = (1..=17).map(|rows| VerifySample {
        rows,
        context: 0,
        seconds: 1.0 + more * (rows - 1) as f64 + if rows > 8 { 4.0 * more } else { 0.0 },
    });
    let samples = Samples {
        draft: vec![TimeSample { tokens: 1, context: 0, seconds: draft }],
        verify: verify.collect(),
        catch_up: vec![TimeSample { tokens: 1, context: 0, seconds: 0.02 * draft }],
        ..Samples::default()
    };
    CostModel::from_samples(&samples).expect("positive times")
}

fn costs() -> [(&'static str, CostModel); 4] {
    [
        ("cheap", cost(0.05, 0.02)),
        ("usual", cost(0.2, 0.05)),
        ("expensive", cost(0.6, 0.2)),
        ("uncalibrated", CostModel::uncalibrated()),
    ]
}

fn traces() -> [(&'static str, Trace); 5] {
    let easy = Regime::calibrated(400, 3.0);
    let hard = Regime::calibrated(300, -1.0);
    let boasting = Regime { trust: 0.3, bias: 2.0, ..Regime::calibrated(300, 0.0) };
    let copied = Regime { lookup: (0.6, 0.9), ..Regime::calibrated(400, 1.0) };
    [
        ("easy", synthetic::trace(&[easy], 1)),
        ("hard", synthetic::trace(&[hard], 2)),
        ("boasting", synthetic::trace(&[boasting], 3)),
        ("copied", synthetic::trace(&[copied], 4)),
        ("mixed", synthetic::trace(&[easy, boasting, copied, hard, easy], 5)),
    ]
}

/// FNV-1a over what a controller decided and what became of it.
struct Digest {
    hash: u64,
    steps: usize,
    drafted: usize,
    accepted: usize,
}

impl Digest {
    fn new() -> Self {
        Digest { hash: 0xcbf2_9ce4_8422_2325, steps: 0, drafted: 0, accepted: 0 }
    }

    fn add(&mut self, record: &StepRecord) {
        let plan = record.before.plan;
        let outcome = record.outcome;
        self.steps += 1;
        self.drafted += record.drafted.len();
        self.accepted += outcome.accepted;
        let numbers = [
            plan.gamma,
            plan.source.index(),
            record.drafted.len(),
            outcome.verified,
            outcome.accepted,
        ];
        for byte in numbers.map(|number| number as u8) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn row(&self, table: &mut String, controller: &str, costs: &str, text: &str) {
        let Digest { hash, steps, drafted, accepted } = self;
        writeln!(
            table,
            "{controller}\t{costs}\t{text}\t{steps}\t{drafted}\t{accepted}\t{hash:016x}"
        )
        .expect("a string takes everything");
    }
}

/// Steps in situations that no replay has: crowds, unread prompts, short budgets, other texts.
fn wide_situations(controller: Box<dyn Controller>, seed: u64) -> Digest {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut below = move |bound: usize| random.next_u32() as usize % bound;
    let mut stepper = Stepper::new(controller);
    let mut digest = Digest::new();
    let (mut context, mut behind) = (300, 299);
    for step in 0..600 {
        if step % 150 == 149 {
            stepper.next_text();
            (context, behind) = (100 + below(2000), below(2000));
        }
        let quality = below(100) as f32 / 100.0;
        let mut signals = |match_length: u16| {
            let confidence = (quality + below(60) as f32 / 100.0).min(0.9999);
            let rest = 1.0 - confidence;
            Signals {
                entropy_bits: 5.0 * rest,
                confidence,
                margin: (confidence - 0.5 * rest).max(0.0),
                match_length,
            }
        };
        let lookup_signals = signals(4);
        let judged: Vec<Signals> = (0..64).map(|_| signals((step % 7) as u16)).collect();
        let found = below(3) == 0;
        let lookup = found.then(|| Lookup {
            match_length: 1 + below(8),
            available: 1 + below(20),
            signals: lookup_signals,
        });
        let sequences = [1, 1, 1, 2, 5, 16][below(6)];
        let pass = SharedPass {
            sequences,
            rows: sequences + if sequences > 1 { below(3) * 100 } else { 0 },
            drafted_beside: (sequences - 1) * below(5),
            drafting_beside: if sequences > 1 { below(sequences) } else { 0 },
        };
        let remaining = if step % 50 > 44 { 1 + below(6) } else { 1 + below(2000) };
        let situation = Situation {
            context,
            gamma_limit: (remaining - 1).min(24),
            remaining,
            draft_behind: behind,
            has_model: step % 90 < 80,
            parallel: 0,
            lookup,
            pass,
        };
        let plan = stepper.plan(&situation).expect("no step is under way");
        let mut drafted = 0;
        while stepper.wants_more() {
            let next = Drafted::new(1, judged[drafted]);
            stepper.judge(next, false).expect("it wants more");
            drafted += 1;
        }
        let kept = stepper.kept().len();
        let accepted = if below(100) < (quality * 100.0) as usize { kept } else { below(kept + 1) };
        let micros = |per: u64, count: usize| std::time::Duration::from_micros(per * count as u64);
        let mut times = Times {
            draft: micros(190, drafted),
            verify: micros(1_000, 1) + micros(45, kept),
            ..Times::default()
        };
        times.total = times.draft + times.verify;
        let ending = Ending { accepted, token: Some(1), verified: None, branch: 0 };
        let record = stepper.finish(&ending, times).expect("a step");
        digest.add(record);
        context += accepted + 1;
        let model = plan.source.index() == 0 && drafted > 0;
        behind = if model { 0 } else { behind + accepted + 1 };
    }
    digest
}

fn table(traces: &[(&str, Trace)]) -> String {
    let mut table = String::from("controller\tcosts\ttext\tsteps\tdrafted\taccepted\tdigest\n");
    for name in CONTROLLERS {
        for (costs, cost) in costs() {
            for (text, trace) in traces {
                let mut digest = Digest::new();
                let records = replay(controller(name, &cost).as_mut(), trace, &cost);
                records.expect("a good trace").iter().for_each(|record| digest.add(record));
                digest.row(&mut table, name, costs, text);
            }
            let digest = wide_situations(controller(name, &cost), 7);
            digest.row(&mut table, name, costs, "wide");
        }
    }
    table
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/decisions/steps.tsv")
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn every_controller_takes_the_steps_of_the_table() {
    let expected = std::fs::read_to_string(path()).expect("the table is beside this file");
    let got = table(&traces());
    for (expected, got) in expected.lines().zip(got.lines()) {
        assert_eq!(got, expected, "controller, costs, text, steps, drafted, accepted, digest");
    }
    assert_eq!(got.lines().count(), expected.lines().count());
}

#[test]
#[ignore = "writes the table that the other test reads"]
fn write_the_table() {
    std::fs::write(path(), table(&traces())).expect("the table can be written");
}

/// The same table of recorded traces: of the folder `SPECKV_TRACES`, into the file
/// `SPECKV_DECISIONS`. Run it before and after a change, and compare the files.
#[test]
#[ignore = "reads a folder of `speckv profile --trace` and writes a table"]
fn write_a_table_of_recorded_traces() {
    let path = |name: &str| PathBuf::from(std::env::var_os(name).expect(name));
    let folder = RunFolder::open(&path("SPECKV_TRACES")).expect("a folder of traces");
    let recordings = folder.load().expect("readable traces");
    let traces: Vec<(&str, Trace)> = recordings
        .iter()
        .map(|file| (file.prompt.id.as_str(), file.recording.trace.clone()))
        .collect();
    std::fs::write(path("SPECKV_DECISIONS"), table(&traces)).expect("the table can be written");
}
