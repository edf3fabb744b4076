//! One HTML file with everything in it.

use std::fmt::Write;

use super::{
    Content, Figure, Inputs, Missing,
    figures::{cells::Grid, counted, grouped},
    findings::{Part, findings, summary},
    origins::disagreements,
    style,
    svg::escaped,
};
use crate::run::{ModelFacts, Origin};

/// The page: a summary, findings, figures, what is left out, and where the numbers come from.
/// `date` is that of the report.
#[must_use]
pub fn html(
    title: &str,
    date: &str,
    inputs: &Inputs,
    figures: &[Figure],
    missing: &[Missing],
) -> String {
    let mut body = format!("<h1>{}</h1>", escaped(title));
    let said = findings(inputs);
    if let Some(sentence) = summary(&said) {
        let _ = write!(body, "<p class=\"summary\">{}</p>", escaped(sentence));
    }
    let _ = write!(
        body,
        "<p class=\"lead\">{} Report of {}.</p>",
        escaped(&subject(inputs)),
        escaped(date)
    );
    for sentence in disagreements(inputs) {
        let _ = write!(
            body,
            "<p class=\"warning\"><strong>Careful:</strong> {}.</p>",
            escaped(&sentence)
        );
    }
    if !said.is_empty() {
        body.push_str(
            "<p class=\"caption\">Brackets are 95 % intervals: speeds and ratios by resampling \
             prompts, shares of tokens by Wilson's with as many tokens as the differences between \
             prompts leave. \
             The fastest gamma is chosen by the prompts that it is shown on. Seconds are those of \
             decoding, without reading the prompt.</p>",
        );
    }
    for part in &said {
        answer(&mut body, part);
    }
    for (at, figure) in figures.iter().enumerate() {
        section(&mut body, at + 1, figure);
    }
    if !missing.is_empty() {
        body.push_str(
            "<h2>Left out</h2><p class=\"caption\">These figures need data that was not \
            given; the command makes it.</p><ul class=\"missing\">",
        );
        for figure in missing {
            let _ = write!(
                body,
                "<li>{}: <code>{}</code></li>",
                escaped(figure.title),
                escaped(figure.command)
            );
        }
        body.push_str("</ul>");
    }
    facts(&mut body, inputs);
    let _ = write!(
        body,
        "<footer>Made by speckv {} from the files named above; nothing is fetched when this page \
         is read.</footer>",
        env!("CARGO_PKG_VERSION")
    );
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light \
         dark\"><title>{}</title><style>{}{}{}</style></head><body><main>{body}</main></body></html>\n",
        escaped(title),
        style::COLOURS,
        style::DRAWING,
        style::PAGE
    )
}

fn answer(body: &mut String, part: &Part) {
    let _ = write!(body, "<section class=\"finding\"><h2>{}</h2>", part.heading);
    for sentence in &part.sentences {
        let _ = write!(body, "<p>{}</p>", escaped(sentence));
    }
    let table = part.table.without_empty_columns();
    body.push_str("<table class=\"numbers\"><thead><tr>");
    for name in &table.head {
        let _ = write!(body, "<th>{}</th>", escaped(name));
    }
    body.push_str("</tr></thead><tbody>");
    for row in &table.rows {
        body.push_str("<tr>");
        for (cell, name) in row.iter().zip(&table.head) {
            // A narrow page shows rows as cards, where every value has its name beside it.
            let _ = write!(body, "<td data-name=\"{}\">{}</td>", escaped(name), escaped(cell));
        }
        body.push_str("</tr>");
    }
    body.push_str("</tbody></table></section>");
}

fn subject(inputs: &Inputs) -> String {
    let of = |target: &ModelFacts, draft: Option<&ModelFacts>, origin: &Origin| {
        let draft = draft.map_or_else(|| "look-up".to_owned(), |draft| draft.name.clone());
        format!("{draft} drafts for {}, on {}.", target.name, origin.machine)
    };
    match (&inputs.grid, &inputs.trace) {
        (Some((run, _)), _) => of(&run.settings.target, run.settings.draft.as_ref(), &run.origin),
        (None, Some(trace)) => {
            of(&trace.run.settings.target, trace.run.settings.draft.as_ref(), &trace.run.origin)
        }
        _ => "Measured by speckv.".into(),
    }
}

fn section(body: &mut String, number: usize, figure: &Figure) {
    let _ = write!(
        body,
        "<section id=\"{}\"><h2><span class=\"n\">{number}</span>{}</h2>",
        figure.id,
        escaped(figure.title)
    );
    match &figure.content {
        Content::Html(html) => body.push_str(html),
        Content::Panels(panels) => {
            let count = match panels.len() {
                1 => " one",
                2 => " two",
                _ => "",
            };
            let _ = write!(body, "<div class=\"panels{count}\">");
            for panel in panels {
                let head = if panel.title.is_empty() {
                    String::new()
                } else {
                    format!("<h3>{}</h3>", escaped(&panel.title))
                };
                let label = format!("{} {}", figure.title, panel.title);
                let _ =
                    write!(body, "<div class=\"panel\">{head}{}</div>", panel.inline(label.trim()));
            }
            body.push_str("</div>");
        }
    }
    let _ = write!(body, "<p class=\"caption\">{}</p></section>", escaped(&figure.caption));
}

fn facts(body: &mut String, inputs: &Inputs) {
    let mut rows: Vec<(&str, String)> = Vec::new();
    let model = |facts: &ModelFacts| {
        format!("{}, {} bytes, SHA-256 {}", facts.name, grouped(facts.bytes as usize), facts.sha256)
    };
    let add = |rows: &mut Vec<_>,
               what: &'static str,
               target: &ModelFacts,
               draft: Option<&ModelFacts>,
               origin: &Origin,
               version: &str| {
        rows.push((what, origin.command.join(" ")));
        rows.push(("machine", origin.machine.clone()));
        rows.push(("target", model(target)));
        rows.push(("draft", draft.map_or_else(|| "look-up".into(), model)));
        rows.push(("version", version.to_owned()));
    };
    if let Some((run, steps)) = &inputs.grid {
        let settings = &run.settings;
        add(
            &mut rows,
            "grid",
            &settings.target,
            settings.draft.as_ref(),
            &run.origin,
            &settings.version,
        );
        rows.push((
            "settings",
            format!(
                "gammas {:?}, {}, up to {} tokens, {} threads, seed {}, {} steps",
                settings.gammas,
                counted(Grid::of(steps).prompts(), "prompt"),
                settings.max_tokens,
                settings.threads,
                settings.seed,
                grouped(steps.len())
            ),
        ));
    }
    if let Some(trace) = &inputs.trace {
        let settings = &trace.run.settings;
        add(
            &mut rows,
            "trace",
            &settings.target,
            settings.draft.as_ref(),
            &trace.run.origin,
            &settings.version,
        );
    }
    rows.extend(inputs.contests.iter().flat_map(|contest| contest.facts.clone()));
    for curve in &inputs.curves {
        rows.push((
            "curve",
            format!(
                "{}, {}, {}, {} threads",
                curve.model, curve.tensor_type, curve.instruction_set, curve.threads
            ),
        ));
        rows.extend(curve.machine.clone().map(|machine| ("machine", machine)));
        rows.extend(curve.sha256.as_ref().map(|sum| ("SHA-256", sum.clone())));
        rows.extend(curve.version.clone().map(|version| ("version", version)));
        if !curve.command.is_empty() {
            rows.push(("command", curve.command.join(" ")));
        }
    }
    if rows.is_empty() {
        return;
    }
    body.push_str("<h2>Where the numbers come from</h2><table class=\"facts\">");
    let mut said: Vec<(&str, String)> = Vec::new();
    for (name, value) in rows {
        // One machine and pair need not be named by every recording.
        let again = said
            .iter()
            .rev()
            .find(|(other, _)| *other == name)
            .is_some_and(|(_, before)| *before == value);
        if again && ["machine", "target", "draft", "version"].contains(&name) {
            continue;
        }
        said.push((name, value.clone()));
        let begins = ["grid", "trace", "evaluation", "comparison", "curve"].contains(&name);
        let class = if begins { " class=\"begins\"" } else { "" };
        let _ = write!(
            body,
            "<tr{class}><th>{name}</th><td><code>{}</code></td></tr>",
            escaped(&value)
        );
    }
    body.push_str("</table>");
}
