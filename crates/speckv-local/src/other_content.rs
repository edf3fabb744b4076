//! Files and folders that are no language models, named for what they are.

use std::{fs, fs::File, io::Read, path::Path};

use speckv_formats::checkpoint::Checkpoint;

use crate::failure::{Failure, Outcome};

/// Bytes of a file that are looked at.
const START: u64 = 512;

/// Architectures of models that turn a text into one vector.
const EMBEDDING: [&str; 10] = [
    "bert",
    "modern-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "neo-bert",
    "jina-bert-v2",
    "jina-bert-v3",
    "gemma-embedding",
    "t5encoder",
    "eurobert",
];

/// What is at a path that could not be opened as a model, if it is something familiar.
pub(crate) fn named(path: &Path) -> Option<Failure> {
    let shown = path.display();
    if path.is_dir() {
        let files = gguf_files(path);
        let first = files.first()?;
        let count = files.len();
        let files = if count == 1 { "file" } else { "files" };
        return Some(Failure::new(
            format!("{shown} is a folder with {count} GGUF {files}, and a model is one of them"),
            format!("give the file: {}", path.join(first).display()),
        ));
    }
    let text = is_text(path)?;
    text.then(|| {
        Failure::new(
            format!("{shown} is a text file, not a model: expected a GGUF file"),
            format!("to use it as a prompt, give it with -f: speckv run -f {shown}"),
        )
    })
}

/// Refuses models that make vectors out of texts.
///
/// # Errors
/// If the model's configuration says that it is one.
pub(crate) fn refuse_embeddings(file: &Checkpoint) -> Outcome<()> {
    let Checkpoint::Gguf(gguf) = file else { return Ok(()) };
    let Ok(Some(architecture)) = gguf.metadata().opt_string("general.architecture") else {
        return Ok(()); // what is wrong is reported with the configuration
    };
    let pooling = gguf
        .metadata()
        .get(&format!("{architecture}.pooling_type"))
        .and_then(|value| value.as_integer())
        .unwrap_or(0);
    if pooling == 0 && !EMBEDDING.contains(&architecture) {
        return Ok(());
    }
    let failure = Failure::new(
        format!(
            "this is an embedding model (architecture {architecture}): it makes vectors, not text"
        ),
        "give a model for text; `speckv models` lists some",
    );
    Err(match file.path() {
        Some(path) => failure.about(path.display()),
        None => failure,
    })
}

/// Names of the GGUF files in a folder, sorted.
fn gguf_files(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let is_gguf = |name: &std::ffi::OsString| {
        Path::new(name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
    };
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).filter(is_gguf).collect();
    names.sort();
    names
}

/// Whether a file begins with printable UTF-8; `None` if it is empty or cannot be read.
fn is_text(path: &Path) -> Option<bool> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(START).read_to_end(&mut start).ok()?;
    if start.is_empty() || start.starts_with(b"GGUF") {
        return None;
    }
    let text = match std::str::from_utf8(&start) {
        Ok(text) => text,
        // A character may be cut by the end of what was read.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return Some(false),
    };
    Some(!text.chars().any(|c| c.is_control() && !c.is_whitespace()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_folders_are_told_from_models() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).expect("a file");
            path
        };
        let message = |path: &Path| named(path).map(|failure| failure.message().to_owned());
        let text = put("notes.txt", "Möwen fliegen.\n".as_bytes());
        assert!(message(&text).expect("text").contains("is a text file, not a model"));
        assert_eq!(message(&put("bytes", &[0, 1, 2, 255])), None);
        assert_eq!(message(&put("empty", b"")), None);
        assert_eq!(message(folder.path()), None, "no GGUF file yet");
        put("a.gguf", b"GGUF");
        put("b.GGUF", b"GGUF");
        let failure = named(folder.path()).expect("a folder of files");
        assert!(failure.message().contains("a folder with 2 GGUF files"), "{failure:?}");
        assert!(failure.hint().ends_with("a.gguf"), "{failure:?}");
    }
}
