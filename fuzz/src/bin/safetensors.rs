//! Hugging Face folders. The first byte says which file the rest is.
#![no_main]

use std::{cell::LazyCell, path::Path};

use libfuzzer_sys::fuzz_target;
use speckv_formats::{checkpoint::Checkpoint, quant::Rows, tiny::Tiny, weights::Layout};

const FILES: [&str; 3] = ["model.safetensors", "config.json", "model.safetensors.index.json"];

thread_local! {
    static FOLDER: LazyCell<tempfile::TempDir> = const { LazyCell::new(|| {
        let folder = speckv_fuzz::folder();
        Tiny { layers: 1, tensor_type: speckv_formats::quant::TensorType::F16, ..Tiny::default() }
            .write_folder(folder.path(), 1)
            .expect("a tiny model");
        folder
    }) };
}

fn open(folder: &Path) {
    let Ok(checkpoint) = Checkpoint::open(folder) else { return };
    let Ok(config) = checkpoint.config() else { return };
    let _ = Layout::new(&checkpoint, &config);
    for tensor in checkpoint.contents() {
        let mut row = vec![0.0; tensor.shape()[0]];
        let _ = tensor.read(0, &mut row);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else { return };
    FOLDER.with(|folder| {
        let path = folder.path().join(FILES[kind as usize % FILES.len()]);
        let before = std::fs::read(&path).ok();
        std::fs::write(&path, data).expect("a file");
        open(folder.path());
        match before {
            Some(before) => std::fs::write(&path, before).expect("a file"),
            None => std::fs::remove_file(&path).expect("a file"),
        }
    });
});
