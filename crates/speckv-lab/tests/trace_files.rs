//! Recordings as files: they come back, they resume, and broken ones are refused.

mod common;

use std::{fs, ops::ControlFlow, path::Path};

use common::{facts, record_all, recorder, run_settings};
use speckv::record::Drafted;
use speckv_lab::{
    recorder::Recording,
    run_folder::{Origin, Run, RunFolder, RunFolderError, Settings},
    trace_file::{self, FORMAT, PromptFacts, SCHEMA, TraceFileError},
};
use tempfile::tempdir;

fn begin(path: &Path, max_tokens: usize) -> Result<RunFolder, RunFolderError> {
    let settings = run_settings(6, max_tokens);
    match RunFolder::resume(path, &settings)? {
        Some(folder) => Ok(folder),
        None => RunFolder::create(path, &Run { settings, origin: Origin::default() }),
    }
}

fn prompts(max_tokens: usize) -> Vec<PromptFacts> {
    (1..=4).map(|number| facts(number, max_tokens)).collect()
}

/// A recording without what a clock measured.
fn timeless(recording: &Recording) -> Recording {
    let mut recording = recording.clone();
    recording.plain_seconds.fill(0.0);
    recording.draft_seconds.iter_mut().flatten().flatten().for_each(|seconds| *seconds = 0.0);
    recording
}

#[test]
fn a_recording_comes_back_as_it_was() {
    let folder = tempdir().expect("a folder");
    let run = begin(folder.path(), 40).expect("a new folder");
    let mut recorder = recorder(6);
    for prompt in prompts(40) {
        let recording = record_all(&mut recorder, &prompt);
        run.save(prompt.clone(), recording.clone()).expect("writes");
        let file =
            trace_file::read(&folder.path().join(format!("{}.parquet", prompt.id))).expect("reads");
        assert_eq!((&file.prompt, &file.recording, &file.run), (&prompt, &recording, run.run()));
        let trace = &recording.trace;
        assert_eq!(recording.plain_seconds.len(), trace.tokens.len());
        assert!(
            trace.positions.iter().zip(&recording.draft_seconds).all(|(p, s)| p
                .model
                .drafted
                .len()
                == s.len())
        );
        // Where the draft's first token was right, only one pass was new.
        for position in 1..trace.tokens.len().saturating_sub(7) {
            let fresh = recording.draft_seconds[position].iter().flatten().count();
            let right = trace.positions[position - 1].model.agreed > 0;
            assert!(fresh <= if right { 1 } else { 6 }, "position {position}: {fresh} passes");
        }
    }
    assert_eq!(run.load().expect("loads").len(), 4);
}

#[test]
fn files_of_format_1_are_read_without_second_choices() {
    let folder = tempdir().expect("a folder");
    let settings = Settings { format: 1, ..run_settings(6, 40) };
    let run = RunFolder::create(folder.path(), &Run { settings, origin: Origin::default() });
    let run = run.expect("a new folder");
    let prompt = facts(1, 40);
    let recording = record_all(&mut recorder(6), &prompt);
    let drafted = |recording: &Recording| -> Vec<Drafted> {
        let positions = recording.trace.positions.iter();
        positions.flat_map(|position| position.model.drafted.clone()).collect()
    };
    assert!(drafted(&recording).iter().all(|drafted| drafted.second.is_some()));
    run.save(prompt, recording.clone()).expect("writes");
    let [file] = &run.load().expect("loads")[..] else { panic!("expected one file") };
    let mut without = recording;
    for position in &mut without.trace.positions {
        position.model.drafted.iter_mut().for_each(|drafted| drafted.second = None);
    }
    assert!(!drafted(&without).is_empty());
    assert_eq!(file.recording, without);
    let later = Settings { format: FORMAT + 1, ..run_settings(6, 40) };
    let other = tempdir().expect("a folder");
    let refused = RunFolder::create(other.path(), &Run { settings: later, ..run.run().clone() });
    assert!(matches!(refused, Err(RunFolderError::OtherSettings { .. })));
}

#[test]
fn a_broken_off_recording_goes_on_to_the_same_files() {
    let (whole, parts) = (tempdir().expect("a folder"), tempdir().expect("a folder"));
    let unbroken = begin(whole.path(), 40).expect("a new folder");
    for prompt in prompts(40) {
        let recording = record_all(&mut recorder(6), &prompt);
        unbroken.save(prompt, recording).expect("writes");
    }
    let first = begin(parts.path(), 40).expect("a new folder");
    let mut broken = recorder(6);
    for prompt in &prompts(40)[..2] {
        let recording = record_all(&mut broken, prompt);
        first.save(prompt.clone(), recording).expect("writes");
    }
    // Ctrl-C in the third prompt, at every kind of moment; and a crash that left half a file
    // behind.
    let third = &prompts(40)[2];
    for stop_at in [0, 1, 41, 42] {
        let stopped = broken.record(&common::task(third), &mut |done| {
            if done >= stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(stopped.expect("no failure").is_none(), "stopped at {stop_at}");
    }
    fs::write(parts.path().join("sim-03.parquet.part"), b"PAR1 half").expect("writes");

    let second = begin(parts.path(), 40).expect("the same settings");
    let missing: Vec<PromptFacts> = prompts(40)
        .into_iter()
        .filter(|prompt| !second.holds(prompt).expect("good files"))
        .collect();
    assert_eq!(
        missing.iter().map(|prompt| prompt.id.as_str()).collect::<Vec<_>>(),
        ["sim-03", "sim-04"]
    );
    for prompt in missing {
        // The recorder that was broken off is none the worse for it.
        let recording = record_all(&mut broken, &prompt);
        second.save(prompt, recording).expect("writes");
    }
    let (whole, parts) = (unbroken.load().expect("loads"), second.load().expect("loads"));
    assert_eq!(whole.len(), 4);
    for (whole, part) in whole.iter().zip(&parts) {
        assert_eq!((&whole.prompt, &whole.run), (&part.prompt, &part.run));
        assert_eq!(timeless(&whole.recording), timeless(&part.recording));
    }
}

#[test]
fn another_setting_or_prompt_in_the_same_folder_is_refused() {
    let folder = tempdir().expect("a folder");
    let run = begin(folder.path(), 40).expect("a new folder");
    let prompt = facts(1, 40);
    run.save(prompt.clone(), record_all(&mut recorder(6), &prompt)).expect("writes");
    let error = begin(folder.path(), 41).expect_err("other settings");
    assert!(error.to_string().contains("max_tokens = 40, now it is 41"), "{error}");
    assert!(error.hint().contains("another folder"));
    let mut other = prompt.clone();
    other.tokens.push(3);
    assert!(matches!(run.holds(&other), Err(RunFolderError::OtherPrompt { .. })));
    assert!(run.holds(&prompt).expect("the same prompt"));

    let strange = tempdir().expect("a folder");
    fs::write(strange.path().join("letter.txt"), b"mine").expect("writes");
    assert!(matches!(begin(strange.path(), 40), Err(RunFolderError::NotARun { .. })));
    assert!(matches!(RunFolder::open(strange.path()), Err(RunFolderError::Empty { .. })));
}

#[test]
fn broken_bytes_are_errors_and_never_panics() {
    let folder = tempdir().expect("a folder");
    let run = begin(folder.path(), 24).expect("a new folder");
    let prompt = facts(1, 24);
    run.save(prompt.clone(), record_all(&mut recorder(6), &prompt)).expect("writes");
    let good = fs::read(folder.path().join("sim-01.parquet")).expect("reads");
    let path = folder.path().join("broken.parquet");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("writes");
        trace_file::read(&path)
    };
    let whole = read(&good).expect("the good bytes");
    for end in (0..good.len()).step_by(97) {
        assert!(read(&good[..end]).is_err(), "cut at {end}");
    }
    let mut refused = 0;
    for at in (0..good.len()).step_by(41) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        match read(&bytes) {
            Ok(file) => assert!(file.recording.trace.check().is_ok()),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0);
    assert!(matches!(read(b"not parquet at all"), Err(TraceFileError::Damaged { .. })));
    // A token that contradicts its agreement is found out by the trace's own check.
    let mut wrong = whole;
    let agreeing =
        wrong.recording.trace.positions.iter().position(|position| position.model.agreed > 0);
    wrong.recording.trace.tokens[agreeing.expect("the draft is right somewhere")] ^= 1;
    assert!(matches!(trace_file::to_bytes(&wrong), Err(TraceFileError::Unwritable { .. })));
}

#[test]
fn the_reference_explains_every_column() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/trace.md");
    let text = fs::read_to_string(path).expect("the reference");
    let columns: Vec<&str> = SCHEMA
        .lines()
        .filter(|line| line.ends_with(';'))
        .map(|line| line.split_whitespace().nth(2).expect("a name").trim_end_matches(';'))
        .collect();
    let rows = text
        .split("## Rows")
        .nth(1)
        .and_then(|rest| rest.split("## Metadata").next())
        .expect("the section");
    let explained: Vec<&str> =
        rows.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(explained, columns);
    let settings = serde_json::to_value(run_settings(6, 40)).expect("JSON");
    for field in settings.as_object().expect("an object").keys() {
        assert!(text.contains(&format!("`settings.{field}`")), "{field} is not explained");
    }
}
