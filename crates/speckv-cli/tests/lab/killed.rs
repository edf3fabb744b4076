//! Recordings that are killed at any moment.

use speckv_lab::{run_folder::RunFolder, trace::Trace, trace_file::PromptFacts};

use crate::{
    SHORT, desk, grid,
    process::{Desk, Ended},
    profile, recording,
};

/// The table without the columns of seconds.
fn lasting(desk: &Desk, folder: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(desk.path(folder).join("steps.csv")).expect("a table");
    let mut rows = csv_rows(&text).into_iter();
    let head = rows.next().expect("a head");
    let kept: Vec<usize> = (0..head.len()).filter(|&at| !head[at].ends_with("_seconds")).collect();
    assert_eq!(kept.len() + 4, head.len());
    rows.map(|row| kept.iter().map(|&at| row[at].clone()).collect()).collect()
}

/// Cells of comma-separated values with quotes, as RFC 4180 has them.
fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            other => cell.push(other),
        }
    }
    rows
}

/// Starts a command again and again, kills it after a while that varies, and gives the number of
/// kills that it took until it ended by itself. `unbroken`: what the same work takes without kills,
/// on this machine, now.
fn kill_until_done(desk: &Desk, arguments: &[&str], unbroken: std::time::Duration) -> u32 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for kills in 0..200 {
        let mut child = desk.start(arguments);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Later and later, so that it ends; the first kills come before anything was written.
        let share = (state % 1024) as f64 / 1024.0 / 6.0 + f64::from(kills) / 24.0;
        std::thread::sleep(unbroken.mul_f64(share));
        if let Some(status) = child.try_wait().expect("a process") {
            assert!(
                status.success(),
                "{:#?}",
                Ended::new(arguments, child.wait_with_output().expect("an end"))
            );
            assert!(kills > 1, "it was too quick to be killed");
            return kills;
        }
        child.kill().expect("SIGKILL");
        child.wait().expect("an end");
    }
    panic!("it never ends");
}

/// What a folder of traces says, seconds aside.
fn traces(desk: &Desk, folder: &str) -> Vec<(PromptFacts, Trace)> {
    let files = RunFolder::open(&desk.path(folder)).expect("a run").load().expect("traces");
    files.into_iter().map(|file| (file.prompt, file.recording.trace)).collect()
}

#[test]
fn a_trace_that_is_killed_at_any_moment_ends_in_the_same_traces() {
    let desk = desk();
    let more = ["--gamma-max", "16"];
    let start = std::time::Instant::now();
    profile(&desk, &more).succeeds();
    let unbroken = start.elapsed();
    let expected = traces(&desk, "t");
    assert_eq!(expected.len(), 8);
    let kills = kill_until_done(&desk, &recording("u", &[&SHORT[..], &more].concat()), unbroken);
    assert_eq!(traces(&desk, "u"), expected, "after {kills} kills");
}

#[test]
fn a_grid_that_is_killed_at_any_moment_ends_in_the_same_table() {
    let desk = desk();
    let both = ["--compressions", "asis,q4_0"];
    let start = std::time::Instant::now();
    let report = desk.run(&grid("g", &both)).succeeds().json();
    let unbroken = start.elapsed();
    assert_eq!(
        (&report["prompts"], &report["recorded"]),
        (&16.into(), &16.into()),
        "8 prompts under two compressions"
    );
    let expected = lasting(&desk, "g");
    assert!(
        expected.iter().any(|row| row[0] == "q4_0") && expected.iter().any(|row| row[1] == "8")
    );
    for compression in ["asis", "q4_0"] {
        let text = |gamma: &str| {
            let mine = expected
                .iter()
                .filter(|row| row[0] == compression && row[1] == gamma && row[11] == "code-01");
            mine.map(|row| row[25].clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text("0"), text("8"), "greedy speculation changes no token");
    }

    let kills = kill_until_done(&desk, &grid("h", &both), unbroken);
    assert_eq!(lasting(&desk, "h"), expected, "after {kills} kills");
    let parquet = std::fs::read(desk.path("h/steps.parquet")).expect("Parquet");
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
}
