//! Answers with where each token came from.

use std::fmt::Write;

use super::super::{Content, Figure, svg::escaped};
use crate::grid::{StepRow, folder::compression_rank};

pub(super) const TITLE: &str = "Answers, token by token";

/// Gamma whose answers are shown, if it was recorded; else the next larger one.
const GAMMA: usize = 4;

pub(super) fn figure(steps: &[StepRow]) -> Option<Figure> {
    let mut gammas: Vec<usize> =
        steps.iter().map(|step| step.gamma).filter(|gamma| *gamma > 0).collect();
    gammas.sort_unstable();
    let gamma = gammas.iter().copied().find(|gamma| *gamma >= GAMMA).or(gammas.last().copied())?;
    let compression = steps
        .iter()
        .map(|step| &step.compression)
        .min_by_key(|name| (compression_rank(name), (*name).clone()))?;
    let shown = |step: &&StepRow| step.gamma == gamma && step.compression == *compression;
    let mut tasks: Vec<&String> = steps.iter().filter(shown).map(|step| &step.task).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let mut html = String::from(
        "<div class=\"key\"><span><span class=\"k a\">accepted</span> proposed by the draft, kept \
         by the target</span>\
         <span><span class=\"k r\">recovered</span> the target's own, after it refused the \
         draft's</span>\
         <span><span class=\"k b\">bonus</span> the target's own, after a whole \
         draft</span><span>plain: nothing was drafted</span></div>",
    );
    for task in tasks {
        // The first prompt by name, those of the test split before the others.
        let ids = steps
            .iter()
            .filter(shown)
            .filter(|step| step.task == *task)
            .map(|step| (step.split != "test", &step.prompt_id));
        let Some((_, id)) = ids.min() else { continue };
        let mut answer: Vec<&StepRow> =
            steps.iter().filter(shown).filter(|step| step.prompt_id == *id).collect();
        answer.sort_by_key(|step| step.step);
        write_answer(&mut html, id, &answer);
    }
    let caption = format!(
        "One answer per task, {compression}, gamma {gamma}. Every token is the one that plain \
         decoding of the target gives; the colours only say how it was found. \
         Point at a token for the draft's confidence."
    );
    Some(Figure { id: "gallery", title: TITLE, caption, content: Content::Html(html) })
}

fn write_answer(html: &mut String, id: &str, steps: &[&StepRow]) {
    let tokens: usize = steps.iter().map(|step| step.tokens_produced).sum();
    let accepted: usize = steps.iter().map(|step| step.accepted).sum();
    let _ = write!(
        html,
        "<div class=\"answer\"><div class=\"meta\"><strong>{}</strong> · {tokens} tokens in {} \
         steps · {accepted} from the draft</div><pre>",
        escaped(id),
        steps.len()
    );
    for step in steps {
        for (at, piece) in step.pieces.iter().enumerate() {
            let (class, name) = match step.last.as_str() {
                _ if at < step.accepted => ("a", "accepted"),
                "recovered" => ("r", "recovered"),
                "bonus" => ("b", "bonus"),
                _ => ("", "plain"),
            };
            let confidence = step.draft_confidence.get(at).map_or_else(String::new, |confidence| {
                format!(", the draft's confidence {confidence:.2}")
            });
            // A background over a line break would show as a bar; the break stays outside.
            let (text, breaks) = piece.split_at(piece.trim_end_matches('\n').len());
            if !text.is_empty() {
                let _ = write!(
                    html,
                    "<span class=\"k {class}\" title=\"step {}: {name}{confidence}\">{}</span>",
                    step.step,
                    escaped(text)
                );
            }
            html.push_str(breaks);
        }
    }
    html.push_str("</pre></div>");
}
