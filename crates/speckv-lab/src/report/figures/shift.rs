//! The fastest gamma, and the others that do not differ from it significantly.

use super::{
    super::{
        Content, Figure,
        svg::{Anchor, Canvas, WIDTH},
    },
    cells::Grid,
};

pub(super) const TITLE: &str = "Which gamma is fastest, by task and compression";

const LEFT: f64 = 92.0;
const ROW: f64 = 22.0;

pub(super) fn figure(grid: &Grid) -> Option<Figure> {
    if grid.gammas.len() < 2 {
        return None;
    }
    let mut canvas = Canvas::default();
    let step = (WIDTH - LEFT - 24.0) / (grid.gammas.len() - 1) as f64;
    let place = |at: usize| LEFT + 10.0 + step * at as f64;
    let rows: Vec<(&str, Option<&str>)> = grid
        .tasks
        .iter()
        .map(|task| (task.as_str(), Some(task.as_str())))
        .chain([("all", None)])
        .collect();
    let mut y = 6.0;
    // Several compressions share the row of a task.
    let mut x_of_legend = LEFT;
    if grid.compressions.len() > 1 {
        for (series, name) in grid.compressions.iter().enumerate() {
            canvas.mark(series, (x_of_legend + 4.0, y + 4.0), name);
            canvas.text("note", (x_of_legend + 13.0, y + 8.0), Anchor::Start, name);
            x_of_legend += 26.0 + 6.6 * name.chars().count() as f64;
        }
        y += 20.0;
    }
    let top = y;
    let mut marks = Vec::new();
    for (name, task) in &rows {
        canvas.text(
            "cell",
            (LEFT - 8.0, y + ROW * grid.compressions.len() as f64 / 2.0 + 4.0),
            Anchor::End,
            name,
        );
        for (series, compression) in grid.compressions.iter().enumerate() {
            let middle = y + ROW * (series as f64 + 0.5);
            let Some(best) = grid.fastest(compression, *task) else { continue };
            let at = |gamma: usize| {
                grid.gammas.iter().position(|other| *other == gamma).unwrap_or_default()
            };
            let alike = grid.alike(compression, *task);
            let ends = (
                alike.iter().min().copied().unwrap_or(best),
                alike.iter().max().copied().unwrap_or(best),
            );
            let words = format!(
                "{name}, {compression}: gamma {best} is fastest; {alike:?} cannot be told from it"
            );
            marks.push((
                series,
                (place(at(ends.0)), place(at(ends.1))),
                (place(at(best)), middle),
                words,
            ));
        }
        y += ROW * grid.compressions.len() as f64;
        canvas.line("grid", (LEFT, y), (WIDTH - 6.0, y));
    }
    for (at, gamma) in grid.gammas.iter().enumerate() {
        canvas.line("grid", (place(at), top), (place(at), y));
        canvas.text("tick", (place(at), y + 15.0), Anchor::Middle, &gamma.to_string());
    }
    for (series, span, (x, middle), words) in marks {
        canvas.line(
            &format!("span s{}", series % super::super::svg::SERIES),
            (span.0, middle),
            (span.1, middle),
        );
        canvas.mark(series, (x, middle), &words);
    }
    canvas.text(
        "label",
        ((LEFT + WIDTH) / 2.0, y + 34.0),
        Anchor::Middle,
        "gamma with the most tokens per second",
    );
    let mut caption = String::from(
        "Marks: the fastest gamma. Bars: all gammas between those whose speed cannot be told from \
         the fastest one's (the 95 % interval of the ratio, paired by prompt, reaches 1). \
                   The fastest is chosen by the same prompts that it is shown on.",
    );
    let prompts = |compression: &String, task: &String| {
        grid.gammas.iter().map(|gamma| grid.speeds(compression, *gamma, Some(task)).len()).max()
    };
    let fewest = grid
        .compressions
        .iter()
        .flat_map(|compression| {
            grid.tasks.iter().filter_map(move |task| prompts(compression, task))
        })
        .min();
    if let Some(fewest) = fewest.filter(|fewest| *fewest < crate::statistics::FEWEST_UNITS) {
        caption += &format!(
            " By task there are but {}: nothing can be told apart there.",
            super::counted(fewest, "prompt")
        );
    }
    Some(Figure {
        id: "shift",
        title: TITLE,
        caption,
        content: Content::Panels(vec![canvas.panel("", y + 40.0)]),
    })
}
