//! A model file that loses its end while it is in use: the process ends with words and a status,
//! not by a signal.
#![cfg(unix)]

use std::{
    fs::OpenOptions,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use speckv_formats::{
    checkpoint::Checkpoint,
    gguf::GgufError,
    quant::{Rows, TensorType},
    tiny::Tiny,
};

/// Names the model for the part of a test that runs in a process of its own.
const MODEL: &str = "SPECKV_TEST_TRUNCATED";

/// The file with the weights of a tiny model below `folder`, of more than ten pages.
fn model(folder: &Path, kind: &str) -> (PathBuf, PathBuf) {
    let tiny = Tiny { tensor_type: TensorType::F16, ..Tiny::default() };
    if kind == "gguf" {
        let path = folder.join("model.gguf");
        std::fs::write(&path, tiny.to_bytes().expect("a tiny model")).expect("a file");
        return (path.clone(), path);
    }
    tiny.write_folder(folder, 1).expect("a tiny model");
    (folder.to_owned(), folder.join("model.safetensors"))
}

fn cut(path: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.set_len(length).expect("a shorter file");
}

fn read_all(checkpoint: &Checkpoint) {
    for tensor in checkpoint.contents() {
        let mut row = vec![0.0; tensor.shape()[0]];
        for number in 0..tensor.elements() / row.len() {
            tensor.read(number, &mut row).expect("a row");
        }
    }
}

/// Runs `test` of this program in a process of its own.
fn apart(test: &str, model: &Path, weights: &Path) -> Output {
    Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture", "--ignored"])
        .env(MODEL, format!("{}\n{}", model.display(), weights.display()))
        .output()
        .expect("this program starts")
}

#[test]
#[ignore = "the part of a test that runs in a process of its own"]
fn part_reads_a_file_that_it_truncates() {
    let Ok(paths) = std::env::var(MODEL) else { return };
    let (model, weights) = paths.split_once('\n').expect("two paths");
    let checkpoint = Checkpoint::open(Path::new(model)).expect("a model");
    cut(Path::new(weights), 8192);
    read_all(&checkpoint);
    unreachable!("the file has no such page");
}

#[test]
fn a_file_that_is_truncated_while_it_is_read_ends_the_process_with_words() {
    for kind in ["gguf", "folder"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (model, weights) = model(folder.path(), kind);
        let ended = apart("part_reads_a_file_that_it_truncates", &model, &weights);
        let err = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), ended.status.signal()), (Some(1), None), "{kind}: {err}");
        assert!(err.contains(&format!("error: {} was truncated", weights.display())), "{err}");
        assert!(err.trim_end().lines().last().is_some_and(|it| it.starts_with("hint: ")), "{err}");
    }
}

/// A map of no model file, so that the fault is none of the reader's.
fn fault_elsewhere(folder: &Path) {
    let path = folder.join("other");
    std::fs::write(&path, vec![1; 16384]).expect("a file");
    let file = std::fs::File::open(&path).expect("a file");
    // SAFETY: nothing else reads this map; the read behind the file's end below is the test.
    let map = unsafe { memmap2::Mmap::map(&file) }.expect("a map");
    cut(&path, 0);
    let sum: u64 = map.iter().map(|&byte| u64::from(byte)).sum();
    unreachable!("the file has no such page, and yet they sum to {sum}");
}

#[test]
#[ignore = "the part of a test that runs in a process of its own"]
fn part_faults_elsewhere() {
    let Ok(paths) = std::env::var(MODEL) else { return };
    let (model, _) = paths.split_once('\n').expect("two paths");
    let checkpoint = Checkpoint::open(Path::new(model)).expect("a model");
    fault_elsewhere(Path::new(model).parent().expect("a folder"));
    drop(checkpoint);
}

#[test]
fn a_fault_that_is_not_of_a_model_file_still_ends_the_process_by_its_signal() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, weights) = model(folder.path(), "gguf");
    let ended = apart("part_faults_elsewhere", &model, &weights);
    assert_eq!(ended.status.signal(), Some(libc::SIGBUS), "{:?}", ended.status);
}

#[test]
fn a_file_that_was_changed_since_it_was_opened_is_told_from_one_that_was_not() {
    for kind in ["gguf", "folder"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (model, weights) = model(folder.path(), kind);
        let checkpoint = Checkpoint::open(&model).expect("a model");
        read_all(&checkpoint);
        checkpoint.check_unchanged().expect("nothing was changed");
        let length = std::fs::metadata(&weights).expect("a file").len();
        // Less than a page: what is cut off reads as zeros, without a signal.
        cut(&weights, length - 1);
        let error = checkpoint.check_unchanged().expect_err("it is shorter");
        let GgufError::Changed { before, now, .. } = &error else { panic!("{error}") };
        assert_eq!((*before, *now), (length, length - 1), "{kind}");
        assert!(error.hint().is_some());
    }
}
