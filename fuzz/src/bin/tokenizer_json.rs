//! `tokenizer.json` files.
#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use speckv_formats::tokenizer::Tokenizer;

thread_local! {
    static FOLDER: LazyCell<tempfile::TempDir> =
        const { LazyCell::new(speckv_fuzz::folder) };
}

fuzz_target!(|data: &[u8]| {
    FOLDER.with(|folder| {
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, data).expect("a file");
        if let Ok(tokenizer) = Tokenizer::from_json_file(&path) {
            speckv_fuzz::use_tokenizer(&tokenizer);
        }
    });
});
