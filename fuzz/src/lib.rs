//! What the fuzz targets share.

use std::path::Path;

use speckv_formats::tokenizer::Tokenizer;

/// A folder in memory where the system has one, else among temporary files.
///
/// # Panics
/// If no folder can be made.
#[must_use]
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder")
}

/// Uses a tokenizer on some texts and checks what must hold for any of them.
///
/// # Panics
/// If the tokens of a text depend on marks that cover nothing.
pub fn use_tokenizer(tokenizer: &Tokenizer) {
    let texts =
        ["", "a", "the <s>\u{e9} e\u{301}</s> 12\n\n x", "<|im_start|>\u{1f600}<|im_end|>"];
    for text in texts {
        let whole = tokenizer.encode(text, true, true).ok();
        assert_eq!(whole, tokenizer.encode_marked(text, &[], true).ok(), "{text}");
        let marked = tokenizer.encode_marked(text, &[0..text.len()], false);
        let plain = tokenizer.encode(text, false, false);
        for tokens in [whole, marked.ok(), plain.ok()].into_iter().flatten() {
            let _ = tokenizer.decode(&tokens, false);
        }
    }
    let _ = tokenizer.first_difference(tokenizer);
}
