//! `speckv paper`: the paper's tables again, and what its data says in seconds.

#![expect(clippy::disallowed_methods, reason = "measures how long work takes")]

mod audit;
mod tables;

use std::time::Instant;

use serde_json::json;
use speckv_lab::{
    paper::{
        self,
        data::PaperData,
        models::Regressor,
        policies::rule,
        published::Published,
        tables::{Fitted, fit, reproduce, split},
    },
    sheet::SheetError,
};
use speckv_local::failure::{Failure, Outcome, chain};

use crate::{args::PaperArgs, printer::Printer};

pub(super) fn run(args: &PaperArgs, printer: &Printer) -> Outcome<()> {
    let data = PaperData::read(&args.data).map_err(|error| unusable(&error))?;
    let published = Published::read(&args.data).map_err(|error| unusable(&error))?;
    let (split, facts) = split(&data, args.seed);
    let fitted = fit(&data, &split, args.seed).map_err(|error| Failure::bug(chain(&error)))?;
    let reproduction = reproduce(&data, &published, &fitted, (&split, facts), args.seed);
    let audit = paper::audit::audit(&data, &split, &fitted, args.seed)
        .map_err(|error| Failure::bug(chain(&error)))?;
    let decision = Decision::measure(&data, &fitted);
    if args.json {
        return printer.json(&json!({
            "reproduction": reproduction,
            "audit": audit,
            "measured": { "fast_decision_ms": decision.fast_ms, "accurate_decision_ms": decision.accurate_ms },
        }));
    }
    let numbers = published.numbers.as_ref().map(|numbers| &numbers.predictor);
    printer.data(&(tables::text(&reproduction, &decision, numbers) + "\n" + &audit::text(&audit)))
}

/// A file of the data in the user's words.
fn unusable(error: &SheetError) -> Failure {
    let hint = match error {
        SheetError::Unreadable { .. } => {
            "give the folder of the paper's public data: see docs/guides/repeat-the-paper.md"
        }
        _ => {
            "fetch the file again; the reader takes the published files as they are and nothing \
             else"
        }
    };
    Failure::from_error(error, None, hint)
}

/// Milliseconds of one choice among four gammas on this machine, without computing signals.
struct Decision {
    fast_ms: f64,
    accurate_ms: f64,
}

impl Decision {
    fn measure(data: &PaperData, fitted: &Fitted) -> Self {
        let time = |model: &dyn Regressor, count: usize| {
            let steps = &data.steps[..count.min(data.steps.len())];
            let mut rounds: Vec<f64> = (0..5)
                .map(|_| {
                    let start = Instant::now();
                    steps.iter().for_each(|step| {
                        std::hint::black_box(rule(model, std::hint::black_box(step)));
                    });
                    1e3 * start.elapsed().as_secs_f64() / steps.len().max(1) as f64
                })
                .collect();
            rounds.sort_by(f64::total_cmp);
            rounds[rounds.len() / 2]
        };
        Decision { fast_ms: time(&*fitted.fast, 2000), accurate_ms: time(&*fitted.accurate, 200) }
    }
}
