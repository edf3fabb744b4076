//! The reader of the paper's files against files that are wrong.

use proptest::prelude::*;
use speckv_lab::paper::data::PaperData;

const RUN_HEAD: &str = "compression,gamma,task,prompt,num_tokens,elapsed_sec,tokens_per_sec,mean_acceptance_rate,mean_draft_entropy,mean_draft_confidence,num_steps";
const STEP_HEAD: &str = "compression,gamma,task,step,accepted,acceptance_rate,tokens_produced,mean_draft_entropy,mean_draft_confidence,max_draft_entropy,min_draft_confidence";

/// Two runs of two steps each.
fn files() -> (String, String) {
    let runs = format!(
        "{RUN_HEAD}\nfp16,2,code,\"Sort, \
         please.\",4,0.2,20.0,0.5,1.0,0.8,2\nnf4,8,chat,Hello,10,0.5,20.0,0.5,1.0,0.8,2\n"
    );
    let steps = format!(
        "{STEP_HEAD}\nfp16,2,code,0,0,0.0,1,2.0,0.65,2.9,0.45\nfp16,2,code,1,2,1.0,3,0.1,0.99,0.2,0.98\n\
         nf4,8,chat,0,8,1.0,9,0.5,0.9,1.0,0.5\nnf4,8,chat,1,0,0.0,1,0.5,0.9,1.0,0.5\n"
    );
    (steps, runs)
}

fn read(steps: &str, runs: &str) -> Result<PaperData, String> {
    PaperData::from_bytes(steps.as_bytes(), runs.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn whole_files_are_read() {
    let (steps, runs) = files();
    let data = read(&steps, &runs).expect("well formed");
    assert_eq!((data.steps.len(), data.runs.len(), data.steps[3].run), (4, 2, 1));
    assert_eq!(data.runs[0].prompt, "Sort, please.");
}

#[test]
fn what_is_wrong_is_named_by_file_line_and_column() {
    let (steps, runs) = files();
    for (from, to, words) in [
        ("step,accepted", "accepted,step", "steps, line 1: expected the columns compression,gamma"),
        ("fp16,2,code,1,2", "fp16,2,code,1", "steps, line 3: expected 11 values, got 10"),
        (
            "fp16,2,code,1",
            "fp32,2,code,1",
            "steps, line 3: expected fp16, int8 or nf4 in column compression, got \"fp32\"",
        ),
        ("fp16,2,code,1", "fp16,3,code,1", "line 3: expected 2, 4, 6 or 8 in column gamma"),
        (
            "fp16,2,code,1",
            "fp16,4,code,1",
            "line 3: expected a step of the run with fp16, gamma 2, code, got \"fp16, gamma 4",
        ),
        (
            "fp16,2,code,1,2",
            "fp16,2,code,1,3",
            "line 3: expected a whole number from 0 to 2 in column accepted",
        ),
        (
            "1,2,1.0,3",
            "1,2,0.7,3",
            "line 3: expected acceptance_rate = 2 accepted by at most gamma 2, got \"0.7\"",
        ),
        (
            "0.99,0.2",
            "1.01,0.2",
            "line 3: expected a number from 0 to 1 in column mean_draft_confidence",
        ),
        (
            "0.1,0.99,0.2",
            "NaN,0.99,0.2",
            "line 3: expected a number from 0 to 20 in column mean_draft_entropy",
        ),
        (
            "0.1,0.99,0.2",
            "0.3,0.99,0.2",
            "line 3: expected at least the mean in column max_draft_entropy",
        ),
        ("fp16,2,code,1", "fp16,2,code,2", "line 3: expected step 1 of 2"),
        ("fp16,2,code,1", "fp16,2,code,0", "line 3: expected step 1 of 2"),
        (
            "1.0,3,0.1",
            "1.0,2,0.1",
            "line 3: expected 4 tokens in this run, as its experiment has, got \"3\"",
        ),
        ("nf4,8,chat,1,0,0.0,1,0.5,0.9,1.0,0.5\n", "", "steps: expected 2 whole runs, got"),
    ] {
        assert!(steps.contains(from), "{from}");
        let message = read(&steps.replacen(from, to, 1), &runs).expect_err(words);
        assert!(
            message.replace('"', "").contains(&words.replace('"', "")),
            "{message}\nhas not\n{words}"
        );
    }
    let more = steps.clone() + "nf4,8,chat,0,0,0.0,1,0.5,0.9,1.0,0.5\n";
    assert!(
        read(&more, &runs).expect_err("three runs").contains("line 6: expected steps of 2 runs")
    );
    let slow = runs.replace("0.2,20.0", "0.4,20.0");
    assert!(
        read(&steps, &slow)
            .expect_err("a wrong speed")
            .contains("runs, line 2: expected tokens_per_sec")
    );
}

#[test]
fn cells_without_two_prompts_are_refused_by_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (steps, runs) = files();
    let read = |steps: &str, runs: &str| {
        for (name, text) in
            [("phase2_step_results.csv", steps), ("phase2_experiment_results.csv", runs)]
        {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        PaperData::read(folder.path()).expect_err("too little").to_string()
    };
    let head = |text: &str| format!("{text}\n");
    for (steps, runs, got) in [(head(STEP_HEAD), head(RUN_HEAD), "0"), (steps, runs, "1")] {
        let said = read(&steps, &runs);
        let cell = format!("expected two runs or more of fp16, gamma 2, code, got \"{got}\"");
        assert!(
            said.contains("phase2_experiment_results.csv")
                && said.replace('"', "").contains(&cell.replace('"', "")),
            "{said}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (steps, runs) = files();
        let _ = PaperData::from_bytes(&bytes, runs.as_bytes());
        let _ = PaperData::from_bytes(steps.as_bytes(), &bytes);
    }

    #[test]
    fn a_changed_byte_is_refused_or_leaves_valid_rows(at in 0usize..10_000, byte in any::<u8>()) {
        let (steps, runs) = files();
        let mut bytes = steps.into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(data) = PaperData::from_bytes(&bytes, runs.as_bytes()) {
            for step in &data.steps {
                prop_assert!((0.0..=1.0).contains(&step.acceptance_rate) && step.accepted <= step.gamma);
                prop_assert!((0.0..=1.0).contains(&step.min_confidence) && step.mean_entropy_bits.is_finite());
            }
            prop_assert_eq!(data.steps.len(), 4);
        }
    }

    #[test]
    fn lines_cut_anywhere_never_pass_for_whole_files(cut in 0usize..10_000) {
        let (steps, runs) = files();
        let cut = cut % (steps.len() - 4);
        prop_assert!(read(&steps[..cut], &runs).is_err(), "cut at {cut}");
    }
}
