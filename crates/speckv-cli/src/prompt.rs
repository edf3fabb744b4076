//! Text from the user: an argument, a file, or standard input.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use speckv_local::failure::{Failure, Outcome};

use crate::args::PromptArgs;

/// The prompt that the arguments name.
///
/// # Errors
/// A file that cannot be read, bytes that are not UTF-8, or nothing at all.
pub fn read(args: &PromptArgs) -> Outcome<String> {
    let text = match (&args.file, &args.prompt) {
        (Some(path), _) if path.as_os_str() != "-" => from_file(path)?,
        (None, Some(prompt)) if prompt != "-" => prompt.clone(),
        _ => from_stdin()?,
    };
    if text.trim().is_empty() {
        return Err(Failure::usage(
            "the prompt is empty",
            "give a prompt: speckv run \"Why is the sky blue?\"",
        ));
    }
    Ok(text)
}

/// A text argument, or standard input where it is `-`.
///
/// # Errors
/// As [`read`].
pub fn text_or_stdin(text: &str) -> Outcome<String> {
    if text == "-" { from_stdin() } else { Ok(text.to_owned()) }
}

/// The text of a file, or standard input where the path is `-`.
///
/// # Errors
/// A file that cannot be read, or bytes that are not UTF-8.
pub fn file_or_stdin(path: &Path) -> Outcome<String> {
    if path.as_os_str() == "-" { from_stdin() } else { from_file(path) }
}

fn from_file(path: &Path) -> Outcome<String> {
    let bytes = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
    utf8(bytes, &path.display().to_string())
}

fn from_stdin() -> Outcome<String> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| {
        Failure::new(
            format!("cannot read standard input: {error}"),
            "give the prompt as an argument or with -f FILE",
        )
    })?;
    utf8(bytes, "standard input")
}

/// Bytes as text.
///
/// # Errors
/// Says where the first byte is that is not UTF-8.
pub fn utf8(bytes: Vec<u8>, whence: &str) -> Outcome<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        Failure::new(
            format!("{whence} is not UTF-8: byte 0x{byte:02x} at offset {at}"),
            "convert the text first, for example with `iconv -f latin1 -t utf-8`",
        )
    })
}
