//! Controllers against each other, and the gammas that they chose.

use super::{
    super::{
        Content, Figure, Panel,
        inputs::Contest,
        plot::{number, ticks},
        svg::{Anchor, Canvas, WIDTH},
    },
    counted,
};

pub(super) const BARS: &str = "Controllers against the baseline, live";
pub(super) const HISTOGRAMS: &str = "How far the controllers drafted";

const LEFT: f64 = 136.0;
const ROW: f64 = 21.0;
const HEAD: f64 = 6.0;

pub(super) fn bars(contests: &[Contest]) -> Figure {
    let panels = contests.iter().map(bar_panel).collect();
    let tested = contests.iter().flat_map(|contest| &contest.rows).any(|row| row.holm_p.is_some());
    let caption = format!(
        "Tokens per second, as multiples of the baseline's on the same prompts; whiskers: 95 % \
         intervals, resampled by prompt, where there are 6 or more; numbers to the right: tokens \
         per second.{} \
         Fixed gammas are all shown: the best of them is known only in hindsight.",
        if tested { " A star: Holm's p below 0.05, Wilcoxon's signed ranks." } else { "" }
    );
    Figure { id: "policies", title: BARS, caption, content: Content::Panels(panels) }
}

fn bar_panel(contest: &Contest) -> Panel {
    let mut canvas = Canvas::default();
    let rows: Vec<_> = contest.rows.iter().filter_map(|row| Some((row, row.ratio?))).collect();
    let most =
        rows.iter().map(|(_, ratio)| ratio.drawn().high.max(ratio.value)).fold(1.0, f64::max)
            * 1.04;
    let right = WIDTH - 46.0;
    let place = |value: f64| LEFT + (right - LEFT) * (value / most).clamp(0.0, 1.0);
    let bottom = HEAD + ROW * rows.len() as f64;
    for tick in ticks(0.0, most, 4) {
        canvas.line("grid", (place(tick), HEAD), (place(tick), bottom));
        let label = format!("{tick:.1}");
        canvas.text(
            "tick",
            (place(tick), bottom + 15.0),
            Anchor::Middle,
            label.trim_end_matches(".0"),
        );
    }
    for (at, (row, ratio)) in rows.iter().enumerate() {
        let y = HEAD + ROW * at as f64;
        let middle = y + ROW / 2.0;
        let star = if row.holm_p.is_some_and(|p| p < 0.05) { " *" } else { "" };
        canvas.text(
            "value",
            (LEFT - 6.0, middle + 4.0),
            Anchor::End,
            &format!("{}{star}", short(&row.name)),
        );
        let class = if row.name.starts_with("speckv") { "bar" } else { "bar other" };
        let value = ratio.value;
        let ends =
            ratio.ends().map_or_else(String::new, |(low, high)| format!(" [{low:.3}, {high:.3}]"));
        let words = format!("{}: {value:.3}{ends} times {}", row.name, contest.baseline);
        canvas.rect(class, (LEFT, y + 4.0), (place(value) - LEFT, ROW - 8.0), 1.0, &words);
        if let Some((low, high)) = ratio.ends().filter(|(low, high)| high > low) {
            canvas.line("axis", (place(low), middle), (place(high), middle));
            for end in [low, high] {
                canvas.line("axis", (place(end), middle - 3.0), (place(end), middle + 3.0));
            }
        }
        let speed = row.tokens_per_second.map_or_else(|| "-".into(), number);
        canvas.text("value", (WIDTH - 2.0, middle + 4.0), Anchor::End, &speed);
    }
    canvas.line("one", (place(1.0), HEAD - 4.0), (place(1.0), bottom));
    canvas.line("axis", (LEFT, HEAD), (LEFT, bottom));
    let label = format!("tokens per second, times those of {}", contest.baseline);
    canvas.text("label", ((LEFT + right) / 2.0, bottom + 32.0), Anchor::Middle, &label);
    canvas.panel(format!("{}, {}", contest.name, counted(contest.prompts, "prompt")), bottom + 40.0)
}

/// A name that fits its column.
fn short(name: &str) -> String {
    if name.chars().count() <= 22 {
        name.to_owned()
    } else {
        format!("{}…", name.chars().take(21).collect::<String>())
    }
}

pub(super) fn histograms(contests: &[Contest]) -> Figure {
    let panels = contests.iter().map(histogram_panel).collect();
    let caption = "Share of steps by the number of tokens drafted, 0 being plain decoding; the \
        stronger the colour, the more often. Fixed gammas draft less where the budget ends.";
    Figure {
        id: "histograms",
        title: HISTOGRAMS,
        caption: caption.into(),
        content: Content::Panels(panels),
    }
}

fn histogram_panel(contest: &Contest) -> Panel {
    let mut canvas = Canvas::default();
    let rows: Vec<_> =
        contest.rows.iter().filter(|row| row.gamma_histogram.iter().sum::<usize>() > 0).collect();
    let columns = rows.iter().map(|row| row.gamma_histogram.len()).max().unwrap_or(1);
    let width = (WIDTH - LEFT - 4.0) / columns as f64;
    // Numbers over narrow columns would run into each other.
    let every = (16.0 / width).ceil().max(1.0) as usize;
    for gamma in (0..columns).step_by(every) {
        canvas.text(
            "tick",
            (LEFT + width * (gamma as f64 + 0.5), 12.0),
            Anchor::Middle,
            &gamma.to_string(),
        );
    }
    for (at, row) in rows.iter().enumerate() {
        let y = 18.0 + ROW * at as f64;
        canvas.text("value", (LEFT - 6.0, y + ROW / 2.0 + 4.0), Anchor::End, &short(&row.name));
        let total: usize = row.gamma_histogram.iter().sum();
        for gamma in 0..columns {
            let count = row.gamma_histogram.get(gamma).copied().unwrap_or(0);
            let share = count as f64 / total as f64;
            let words =
                format!("{}, {gamma} drafted: {:.1} % of {total} steps", row.name, 100.0 * share);
            let opacity = if count == 0 { 0.04 } else { 0.1 + 0.85 * share.sqrt() };
            canvas.rect(
                "heat",
                (LEFT + width * gamma as f64 + 0.5, y + 1.0),
                (width - 1.0, ROW - 2.0),
                opacity,
                &words,
            );
        }
    }
    let bottom = 18.0 + ROW * rows.len() as f64;
    canvas.text(
        "label",
        ((LEFT + WIDTH) / 2.0, bottom + 18.0),
        Anchor::Middle,
        "tokens drafted in a step",
    );
    canvas.panel(format!("{}, {}", contest.name, counted(contest.prompts, "prompt")), bottom + 26.0)
}
