//! The best gamma by compression and task.

use super::{
    super::{
        figures::{
            cells::{Grid, SEED, Sums, interval},
            counted,
        },
        plot::number,
    },
    Part, Table, Verdict, amount, listed, percent, ratio, too_few,
};
use crate::statistics::throughput::{self, Ratio, throughput};

pub(super) fn part(grid: &Grid) -> Option<Part> {
    let best: Vec<(&str, usize)> = grid
        .compressions
        .iter()
        .filter_map(|compression| Some((compression.as_str(), grid.fastest(compression, None)?)))
        .collect();
    if best.is_empty() {
        return None;
    }
    let sentences = [
        too_few(grid.prompts()),
        left_out(grid.incomplete),
        Some(fastest(&best)),
        moved(grid, &best),
        by_task(grid),
        longest(grid, &best),
        acceptance(grid),
    ];
    Some(Part {
        heading: "Which gamma is best, and where?",
        sentences: sentences.into_iter().flatten().collect(),
        table: table(grid, &best),
    })
}

/// What is said where prompts are left out.
fn left_out(incomplete: usize) -> Option<String> {
    (incomplete > 0).then(|| {
        format!(
            "{}: left out, since not every compression and gamma has answered.",
            counted(incomplete, "prompt")
        )
    })
}

fn fastest(best: &[(&str, usize)]) -> String {
    let each: Vec<String> =
        best.iter().map(|(compression, gamma)| format!("{gamma} with {compression}")).collect();
    format!("Of the gammas tried, the one with the most tokens per second is {}.", listed(&each))
}

/// Whether the best gamma of one compression is worse under another, by the pair that shows it most
/// clearly.
fn moved(grid: &Grid, best: &[(&str, usize)]) -> Option<String> {
    if best.len() < 2 {
        return None;
    }
    let pairs = best.iter().flat_map(|mine| best.iter().map(move |other| (mine, other)));
    let pairs: Vec<_> = pairs
        .filter(|(mine, other)| mine.1 != other.1)
        .filter_map(|(mine, other)| Some((mine, other, grid.ratio(mine.0, mine.1, other.1, None)?)))
        .collect();
    let clear = |ratio: &Ratio| ratio.low.unwrap_or(ratio.value);
    let clearest = pairs.iter().max_by(|a, b| clear(&a.2).total_cmp(&clear(&b.2)));
    let Some((mine, other, gain)) = clearest else {
        return Some("Compression does not move it.".into());
    };
    let head = match Verdict::of(gain) {
        Verdict::Faster => "Compression moves it",
        _ => "Whether compression moves it, these prompts cannot tell",
    };
    let chosen = match pairs.len() {
        1 => "Both gammas were chosen as the fastest by these same prompts".to_owned(),
        count => format!(
            "That is the clearest of {count} such pairs, and it and its gammas were chosen by \
             these same prompts"
        ),
    };
    Some(format!(
        "{head}: with {}, gamma {} is {} times as fast as gamma {}, the best with {}. {chosen}, \
         so the difference looks larger than it will on others.",
        mine.0,
        mine.1,
        ratio(gain),
        other.1,
        other.0
    ))
}

fn by_task(grid: &Grid) -> Option<String> {
    if grid.tasks.len() < 2 {
        return None;
    }
    let cells = grid
        .compressions
        .iter()
        .flat_map(|compression| grid.tasks.iter().map(move |task| (compression, task)));
    let found: Vec<(usize, &String, &String)> = cells
        .filter_map(|(compression, task)| {
            Some((grid.fastest(compression, Some(task))?, task, compression))
        })
        .collect();
    let (least, most) =
        (found.iter().min_by_key(|cell| cell.0)?, found.iter().max_by_key(|cell| cell.0)?);
    Some(if least.0 == most.0 {
        format!("It is gamma {} in every task.", least.0)
    } else {
        let name =
            |cell: &(usize, &String, &String)| format!("{} ({}, {})", cell.0, cell.1, cell.2);
        format!("Task by task the fastest goes from gamma {} to gamma {}.", name(least), name(most))
    })
}

/// The gamma that a rule that maximises tokens per step would have chosen.
fn longest(grid: &Grid, best: &[(&str, usize)]) -> Option<String> {
    let length = |compression: &str, gamma: usize| {
        throughput(&grid.by_prompt(compression, gamma, None, |sums: &Sums| {
            (sums.whole_tokens, sums.whole_steps)
        }))
    };
    let each: Vec<String> = best
        .iter()
        .filter_map(|&(compression, best)| {
            let tokens = |gamma: &usize| length(compression, *gamma).unwrap_or(0.0);
            let most = *grid.gammas.iter().max_by(|a, b| tokens(a).total_cmp(&tokens(b)))?;
            let speed = if most == best {
                "which is the fastest, too".to_owned()
            } else {
                format!(
                    "at {} of the fastest's speed",
                    ratio(&grid.ratio(compression, most, best, None)?)
                )
            };
            Some(format!(
                "gamma {most} with {compression} ({}), {speed}",
                number(length(compression, most)?)
            ))
        })
        .collect();
    (!each.is_empty()).then(|| format!("Most tokens per step: {}.", each.join("; ")))
}

fn acceptance(grid: &Grid) -> Option<String> {
    let gamma =
        grid.gammas.iter().copied().find(|gamma| *gamma >= 4).or(grid.gammas.last().copied())?;
    if gamma == 0 {
        return None;
    }
    let cells = |compression: &str| {
        grid.by_prompt(compression, gamma, None, |sums| (sums.accepted, sums.drafted))
    };
    let mut rates = Vec::new();
    for compression in &grid.compressions {
        rates.push(format!("{compression} {}", percent(&interval(&cells(compression))?)));
    }
    let mut text = format!("Acceptance rate at gamma {gamma}: {}", rates.join(", "));
    if let [first, .., last] = grid.compressions.as_slice() {
        let (a, b) = (cells(last), cells(first));
        if a.len() == b.len()
            && let Some(change) = throughput::ratio(&a, &b, SEED)
        {
            let words = match change.ends() {
                Some((low, high)) if low > 1.0 || high < 1.0 => "a difference",
                _ => "no difference that could be told",
            };
            text +=
                &format!("; that of {last} is {} times that of {first}, {words}", ratio(&change));
        }
    }
    Some(text + ".")
}

fn table(grid: &Grid, best: &[(&str, usize)]) -> Table {
    let plain = grid.gammas.first() == Some(&0);
    let speed = |compression: &str, gamma: usize| {
        interval(&grid.speeds(compression, gamma, None))
            .map_or_else(|| "-".into(), |speed| amount(&speed))
    };
    let rows = best.iter().map(|&(compression, best)| {
        let of_tasks: Vec<String> = grid
            .tasks
            .iter()
            .filter_map(|task| Some(format!("{task} {}", grid.fastest(compression, Some(task))?)))
            .collect();
        let alike: Vec<String> =
            grid.alike(compression, None).iter().map(ToString::to_string).collect();
        let to_plain = plain.then(|| grid.ratio(compression, best, 0, None)).flatten();
        vec![
            compression.to_owned(),
            if plain { speed(compression, 0) } else { "-".into() },
            best.to_string(),
            speed(compression, best),
            to_plain.map_or_else(|| "-".into(), |to_plain| ratio(&to_plain)),
            alike.join(", "),
            of_tasks.join(", "),
        ]
    });
    Table {
        head: vec![
            "target",
            "plain, tokens/s",
            "fastest gamma",
            "its tokens/s",
            "to plain",
            "gammas as fast, for all that is known",
            "fastest by task",
        ],
        rows: rows.collect(),
    }
}
