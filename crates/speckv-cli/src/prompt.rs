//! Text from the user: an argument, a file, or standard input.

use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use speckv_local::{
    failure::{Failure, Outcome},
    report::Reporter,
};

use crate::{args::PromptArgs, printer::Printer};

const EXAMPLE: &str = "give a prompt: speckv run \"Why is the sky blue?\"";

/// Time without an end of the input after which it is said what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The prompt that the arguments name: an argument, a file, or what is piped in. Text that is piped
/// in beside an argument comes after it.
///
/// # Errors
/// A file that cannot be read, bytes that are not UTF-8, or nothing at all.
pub fn read(args: &PromptArgs, printer: &Printer) -> Outcome<String> {
    let text = match (&args.file, &args.prompt) {
        (Some(path), _) if path.as_os_str() != "-" => from_file(path)?,
        (None, Some(prompt)) if prompt != "-" => match piped(printer)? {
            Some(text) if !text.trim().is_empty() => format!("{prompt}\n\n{text}"),
            _ => prompt.clone(),
        },
        (None, None) if io::stdin().is_terminal() => {
            return Err(Failure::usage("there is no prompt", EXAMPLE));
        }
        _ => from_stdin()?,
    };
    if text.trim().is_empty() {
        return Err(Failure::usage("the prompt is empty", EXAMPLE));
    }
    Ok(text)
}

/// What is piped in; `None` where the input is a terminal or a device such as `/dev/null`.
fn piped(printer: &Printer) -> Outcome<Option<String>> {
    if !has_text() {
        return Ok(None);
    }
    // Who started the program may have left a pipe open without knowing.
    let (done, waiting) = mpsc::channel::<()>();
    let printer = *printer;
    let notice = thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            printer.note(
                "waiting for the end of standard input, which is appended to the prompt; \
                 < /dev/null gives none",
            );
        }
    });
    let text = from_stdin();
    drop(done);
    let _ = notice.join();
    text.map(Some)
}

/// Whether standard input is a pipe, a socket or a file.
#[cfg(unix)]
fn has_text() -> bool {
    use std::os::{fd::AsFd, unix::fs::FileTypeExt};

    let kind = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|input| fs::File::from(input).metadata())
        .map(|meta| meta.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket() || kind.is_file())
}

/// Whether standard input is something else than a terminal.
#[cfg(not(unix))]
fn has_text() -> bool {
    !io::stdin().is_terminal()
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

/// Bytes as text, without a byte order mark at the start.
///
/// # Errors
/// Says where the first byte is that is not UTF-8.
pub fn utf8(bytes: Vec<u8>, whence: &str) -> Outcome<String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        // What some editors and shells of Windows write, by its byte order mark.
        let is_utf16 = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        let encoding = if is_utf16 { "utf-16" } else { "latin1" };
        Failure::new(
            format!("{whence} is not UTF-8: byte 0x{byte:02x} at offset {at}"),
            format!("convert the text first, for example with `iconv -f {encoding} -t utf-8`"),
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
