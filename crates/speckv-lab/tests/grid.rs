//! The grid: the same rows whatever interrupts its recording, and files that say what the rows say.

use std::{ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};
use proptest::prelude::*;
use speckv::{
    draft::ModelDrafter,
    engine::{Clock, Engine},
    predictor::ModelShape,
    sim::{Difference, SimCost, SimModel, SimSettings},
};
use speckv_lab::{
    grid::{
        BlockTask, GridFolder, GridRun, GridSettings, StepRow,
        columns::{TIMES, columns},
        folder::{BlockName, FORMAT},
        parquet_rows::read_parquet,
        run_block, table_file,
    },
    run_folder::{ModelFacts, Origin},
};

const GAMMAS: [usize; 3] = [0, 2, 4];

fn engine() -> Engine<SimModel> {
    let cost = SimCost { pass: Duration::from_millis(30), token: Duration::from_millis(3) };
    let target = SimModel::new(SimSettings { seed: 3, ..SimSettings::default() }).costing(cost);
    let draft = Arc::new(target.draft(Difference::Share { agreement: 0.7 }));
    let clock = Clock::Virtual(target.time().clone());
    let mut engine = Engine::new(Arc::new(target), Box::new(ModelDrafter::new(draft, 32)));
    engine.set_clock(clock);
    engine
}

fn block(
    engine: &mut Engine<SimModel>,
    id: &str,
    go_on: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Option<Vec<StepRow>> {
    let row = StepRow {
        compression: "asis".into(),
        task: "t".into(),
        prompt_id: id.into(),
        split: "test".into(),
        seed: 42,
        ..StepRow::default()
    };
    let first = id.bytes().map(u32::from).sum::<u32>();
    let prompt: Vec<u32> = (first..first + 9).map(|token| token * 7 % 32).collect();
    let task =
        BlockTask { row: &row, prompt: &prompt, gammas: &GAMMAS, max_tokens: 25, end_tokens: &[] };
    run_block(engine, &task, &mut || |token: u32| format!("<{token}, \"q\">\n"), go_on)
        .expect("simulated passes do not fail")
}

fn settings() -> GridSettings {
    let shape = ModelShape { architecture: "sim".into(), layers: 1, hidden: 1, vocab_size: 32 };
    GridSettings {
        format: FORMAT,
        version: "0".into(),
        target: ModelFacts {
            name: "t".into(),
            sha256: "0".into(),
            bytes: 1,
            shape,
            compression: "F32".into(),
        },
        draft: None,
        draft_compression: "asis".into(),
        draft_head: None,
        instruction_set: "sim".into(),
        gammas: GAMMAS.to_vec(),
        max_tokens: 25,
        threads: 1,
        seed: 42,
    }
}

fn begun(path: &Path) -> GridFolder {
    match GridFolder::resume(path, &settings()).expect("a usable folder") {
        Some(folder) => folder,
        None => {
            GridFolder::create(path, &GridRun { settings: settings(), origin: Origin::default() })
                .expect("a folder")
        }
    }
}

fn name(id: &str) -> BlockName {
    BlockName { compression: "asis".into(), prompt_id: id.into(), digest: "d".into() }
}

/// The columns that are the same in every recording.
fn lasting(rows: &[StepRow]) -> Vec<String> {
    let columns = columns(rows);
    let kept = columns.iter().filter(|column| !TIMES.contains(&column.name));
    let kept: Vec<_> = kept.collect();
    (0..rows.len())
        .map(|row| kept.iter().map(|column| column.values.cell(row) + "|").collect())
        .collect()
}

#[test]
fn every_gamma_makes_the_same_text_and_its_records_add_up() {
    let rows = block(&mut engine(), "t-01", &mut |_| ControlFlow::Continue(())).expect("a block");
    let text = |gamma: usize| {
        rows.iter()
            .filter(|row| row.gamma == gamma)
            .flat_map(|row| row.tokens.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(text(0).len(), 25);
    for gamma in GAMMAS {
        assert_eq!(text(gamma), text(0), "greedy speculation changes no token");
        let mine: Vec<&StepRow> = rows.iter().filter(|row| row.gamma == gamma).collect();
        assert!(mine.iter().enumerate().all(|(at, row)| row.step == at && row.drafted() <= gamma));
        assert!(
            mine.iter()
                .all(|row| row.tokens_produced == row.accepted + 1 && row.total_seconds > 0.0)
        );
    }
    let plain = rows.iter().find(|row| row.gamma == 0).expect("a plain step");
    assert_eq!((plain.acceptance_rate(), plain.last.as_str()), (None, "plain"));
    let mut places: Vec<usize> = rows.iter().map(|row| row.place).collect();
    places.dedup();
    places.sort_unstable();
    assert_eq!(places, [0, 1, 2], "each gamma has its place in the order");
}

#[test]
fn a_recording_that_is_broken_off_anywhere_ends_in_the_same_table() {
    let ids = ["t-01", "t-02", "t-03"];
    let whole = tempfile::tempdir().expect("a folder");
    let folder = begun(whole.path());
    let mut machine = engine();
    for id in ids {
        folder
            .save(
                &name(id),
                &block(&mut machine, id, &mut |_| ControlFlow::Continue(())).expect("a block"),
            )
            .expect("saved");
    }
    folder.assemble().expect("a table");
    let expected = lasting(&folder.steps().expect("steps"));

    for patience in [1, 7, 30, 61, 80] {
        let broken = tempfile::tempdir().expect("a folder");
        let mut rounds = 0;
        loop {
            // A new process: new engine, new caches. It gives up after some calls, more in each
            // round.
            let (folder, mut machine) = (begun(broken.path()), engine());
            let there = folder.blocks().expect("names");
            let mut calls = 0;
            rounds += 1;
            let mut all = true;
            // In another order than the first time.
            for id in ids.iter().rev() {
                if folder.holds(&name(id), &there).expect("whole") {
                    continue;
                }
                let made = block(&mut machine, id, &mut |_| {
                    calls += 1;
                    if calls > patience * rounds {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
                let Some(made) = made else {
                    all = false;
                    break;
                };
                folder.save(&name(id), &made).expect("saved");
            }
            // What a kill in the middle of a write leaves.
            std::fs::create_dir_all(broken.path().join("blocks")).expect("a folder");
            std::fs::write(broken.path().join("blocks/asis.t-02.d.csv.part"), "compression,gam")
                .expect("a part");
            if all {
                folder.assemble().expect("a table");
                assert_eq!(
                    lasting(&folder.steps().expect("steps")),
                    expected,
                    "patience {patience}"
                );
                break;
            }
        }
    }
}

#[test]
fn other_settings_other_prompts_and_damage_are_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = begun(place.path());
    folder
        .save(
            &name("t-01"),
            &block(&mut engine(), "t-01", &mut |_| ControlFlow::Continue(())).expect("a block"),
        )
        .expect("saved");
    let other = GridSettings { max_tokens: 26, ..settings() };
    let message = GridFolder::resume(place.path(), &other).expect_err("other settings").to_string();
    assert!(message.contains("max_tokens = 25, now it is 26"), "{message}");
    let there = folder.blocks().expect("names");
    let changed = BlockName { digest: "e".into(), ..name("t-01") };
    assert!(
        folder
            .holds(&changed, &there)
            .expect_err("another text")
            .to_string()
            .contains("another prompt of the same id")
    );
    let file = place.path().join("blocks/asis.t-01.d.csv");
    let text = std::fs::read_to_string(&file).expect("a part");
    std::fs::write(&file, &text[..text.len() / 2]).expect("damage");
    assert!(folder.holds(&name("t-01"), &there).is_err());
    std::fs::write(place.path().join("blocks/notes.txt"), "").expect("a file");
    assert!(folder.blocks().is_err());
}

#[test]
fn csv_gives_back_the_rows_and_parquet_says_the_same() {
    let rows = block(&mut engine(), "t-01", &mut |_| ControlFlow::Continue(())).expect("a block");
    let csv = table_file::to_csv(&rows).expect("CSV");
    let back = table_file::from_csv(Path::new("steps.csv"), &csv).expect("our own file");
    assert_eq!(back, rows);
    let bytes = table_file::to_parquet(&rows, "{\"a\":1}").expect("Parquet");
    assert_eq!(
        bytes,
        table_file::to_parquet(&rows, "{\"a\":1}").expect("Parquet"),
        "the same bytes"
    );
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("Parquet");
    let metadata = reader.metadata().file_metadata();
    let run = metadata
        .key_value_metadata()
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == table_file::RUN_KEY));
    assert_eq!(run.and_then(|pair| pair.value.as_deref()), Some("{\"a\":1}"));
    let columns = columns(&rows);
    let mut count = 0;
    for (at, record) in reader.get_row_iter(None).expect("rows").enumerate() {
        let record = record.expect("a row");
        assert_eq!(record.get_long(1).expect("gamma"), rows[at].gamma as i64);
        assert_eq!(record.get_double(5).ok(), rows[at].acceptance_rate());
        let list = record.get_list(25).expect("entropies");
        assert_eq!(list.len(), rows[at].drafted());
        let pieces = record.get_list(30).expect("pieces");
        assert_eq!(pieces.len(), rows[at].tokens_produced);
        count += 1;
    }
    assert_eq!((count, columns.len()), (rows.len(), 31));
}

#[test]
fn a_folder_with_only_parquet_holds_the_same_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("steps.parquet");
    let rows = block(&mut engine(), "code-01", &mut |_| ControlFlow::Continue(())).expect("whole");
    let bytes = table_file::to_parquet(&rows, "{}").expect("Parquet");
    std::fs::write(&path, &bytes).expect("a file");
    assert_eq!(read_parquet(&path).expect("our own file"), rows);
    let begun = begun(&folder.path().join("g"));
    std::fs::copy(&path, folder.path().join("g/steps.parquet")).expect("a copy");
    assert_eq!(begun.steps().expect("the table"), rows);
    // Damage at any place is an error or harmless, never a panic.
    for at in (0..bytes.len()).step_by(37) {
        let mut broken = bytes.clone();
        broken[at] ^= 0x55;
        std::fs::write(&path, &broken).expect("a file");
        let _ = read_parquet(&path);
    }
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("a file");
    assert!(read_parquet(&path).expect_err("half a file").to_string().contains("steps.parquet"));
}

#[test]
fn rows_that_contradict_themselves_are_named_by_file_and_line() {
    let rows = block(&mut engine(), "t-01", &mut |_| ControlFlow::Continue(())).expect("a block");
    let drafted = rows.iter().position(|row| row.gamma == 4 && row.accepted > 0).expect("a draft");
    let refused = |change: &dyn Fn(&mut StepRow), words: &str| {
        let mut rows = rows.clone();
        change(&mut rows[drafted]);
        let csv = table_file::to_csv(&rows).expect("CSV");
        let message =
            table_file::from_csv(Path::new("steps.csv"), &csv).expect_err(words).to_string();
        assert!(message.starts_with("steps.csv, line ") && message.contains(words), "{message}");
    };
    refused(
        &|row| row.compression = "FP 8".into(),
        "expected a name in lower case in column compression",
    );
    refused(&|row| row.draft_confidence[0] = 1.5, "in column draft_confidence");
    refused(&|row| row.tokens.truncate(1), "of both");
    refused(&|row| row.verified = 9, "gamma >= drafted >= verified >= accepted");
    refused(
        &|row| row.total_seconds = f64::NAN,
        "expected a number from 0 to 3600 in column total_seconds",
    );
    let csv = String::from_utf8(table_file::to_csv(&rows).expect("CSV")).expect("UTF-8");
    let rate = rows[drafted].acceptance_rate().expect("a rate").to_string();
    let line = csv
        .lines()
        .position(|line| line.starts_with("asis,4,") && line.contains(&format!(",{rate},")))
        .expect("it");
    let wrong: String = csv.lines().enumerate().map(|(at, text)| if at == line { text.replacen(&format!(",{rate},"), ",0.123,", 1) } else { text.into() } + "\n").collect();
    // Quoted line breaks make file lines differ from records; the message counts lines of the file.
    let _ = table_file::from_csv(Path::new("steps.csv"), wrong.as_bytes())
        .expect_err("a rate that is none");
}

#[test]
fn the_reference_names_every_column() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/steps.md");
    let text = std::fs::read_to_string(path).expect("the reference");
    for column in columns(&[]) {
        assert!(
            text.contains(&format!("| `{}` |", column.name)),
            "{} is not explained",
            column.name
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..5000, byte in any::<u8>()) {
        let _ = table_file::from_csv(Path::new("x"), &bytes);
        let mut csv = table_file::to_csv(&[StepRow { compression: "asis".into(), task: "t".into(), prompt_id: "t-01".into(), split: "test".into(),
            gamma: 2, accepted: 1, tokens_produced: 2, context: 5, verified: 1, last: "bonus".into(), draft_entropy_bits: vec![0.5], draft_confidence: vec![0.9],
            draft_margin: vec![0.8], draft_tokens: vec![3], tokens: vec![3, 4], pieces: vec!["a".into(), "b".into()], ..StepRow::default() }]).expect("CSV");
        prop_assert!(table_file::from_csv(Path::new("x"), &csv).is_ok());
        let at = at % csv.len();
        csv[at] = byte;
        let _ = table_file::from_csv(Path::new("x"), &csv);
    }
}
