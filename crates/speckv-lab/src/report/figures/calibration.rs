//! Predicted against observed probability of acceptance.

use speckv::{
    controller::Fixed,
    predictor::{Metrics, Question, sigmoid},
    record::Source,
};

use super::super::{
    Content, Figure,
    inputs::TraceInput,
    plot::{Axis, Plot, Points, number},
};
use crate::{
    replay::replay, statistics::wilson, trace_file::TraceFile, training::examples, workload::Split,
};

pub(super) const TITLE: &str = "Calibration: predicted and observed acceptance";

pub(super) fn figure(input: &TraceInput) -> Option<Figure> {
    let held_out: Vec<&TraceFile> =
        input.files.iter().filter(|file| file.prompt.split == Split::Test).collect();
    let unseen = !held_out.is_empty();
    let files: Vec<&TraceFile> = if unseen { held_out } else { input.files.iter().collect() };
    let facts = input.run.settings.facts();
    let (mut predicted, mut raw) = (Vec::new(), Vec::new());
    let head = input.predictor.head(Source::MODEL, Question::Accept);
    for file in &files {
        let records = replay(&mut Fixed::new(4), &file.recording.trace, &input.cost).ok()?;
        for example in examples(&records, facts) {
            if example.source == Source::MODEL && example.question == Question::Accept {
                predicted.push((sigmoid(head.score(&example.features)), example.accepted));
            }
        }
        for record in &records {
            for (at, drafted) in record.drafted.iter().enumerate() {
                if let Some(accepted) = record.outcome.label(at) {
                    raw.push((drafted.signals.confidence, accepted));
                }
            }
        }
    }
    let (ours, confidence) = (Metrics::of(&predicted)?, Metrics::of(&raw)?);
    let names =
        [format!("predictor ({})", input.predictor_name), "the draft's confidence".to_owned()];
    let axis = |label: &str| Axis::new(label, 0.0, 1.0);
    let mut plot = Plot::new(&axis("predicted probability"), &axis("share accepted"), &names);
    let (from, to) = ((plot.x.at(0.0), plot.y.at(0.0)), (plot.x.at(1.0), plot.y.at(1.0)));
    plot.canvas.line("one", from, to);
    for (series, pairs) in [&predicted, &raw].into_iter().enumerate() {
        plot.series(series, &bins(pairs), |at, interval| {
            format!(
                "predicted {}: {} [{}, {}]",
                number(at),
                number(interval.value),
                number(interval.low),
                number(interval.high)
            )
        });
    }
    let auc = |metrics: &Metrics| metrics.auc.map_or_else(|| "-".into(), number);
    let caption = format!(
        "{} of {} {} the predictor, drafted four at a time; ten bins of equal width, Wilson's 95 \
         % intervals over tokens. \
         Expected calibration error {} (confidence: {}), Brier score {} ({}), area under the \
         curve {} ({}). The predictor is as shipped or given, without its correction while \
         running.",
        super::counted(ours.count, "draft token"),
        super::counted(files.len(), "prompt"),
        if unseen { "that did not train" } else { "that may have trained" },
        format_args!("{:.3}", ours.ece_10),
        format_args!("{:.3}", confidence.ece_10),
        format_args!("{:.3}", ours.brier),
        format_args!("{:.3}", confidence.brier),
        auc(&ours),
        auc(&confidence),
    );
    Some(Figure {
        id: "calibration",
        title: TITLE,
        caption,
        content: Content::Panels(vec![plot.panel("")]),
    })
}

/// Mean prediction and share accepted in ten bins.
fn bins(pairs: &[(f32, bool)]) -> Points {
    let mut sums = [(0.0, 0, 0); 10]; // of predictions, accepted, all
    for &(p, accepted) in pairs {
        let bin = &mut sums[((p.clamp(0.0, 1.0) * 10.0) as usize).min(9)];
        bin.0 += f64::from(p);
        bin.1 += usize::from(accepted);
        bin.2 += 1;
    }
    sums.iter()
        .filter_map(|&(sum, accepted, all)| Some((sum / all as f64, wilson(accepted, all)?)))
        .collect()
}
