//! A folder of trace files that belong together: one per prompt, under one set of settings.
//!
//! Every file is written whole under another name and then renamed: if a recording is killed, what
//! stands under a final name is complete, and the next run goes on with the prompts that are
//! missing.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

pub use crate::run::{ModelFacts, Origin, Run, Settings};
use crate::{
    recorder::Recording,
    run::differences,
    trace_file::{self, FORMAT, PromptFacts, TraceFile, TraceFileError},
};

/// Name of the file that holds the run's facts.
pub const RUN_FILE: &str = "run.json";

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    run: Run,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// Reading or writing failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `write` or `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// `run.json` is not what this version writes.
    #[error("{}: not the facts of a recording: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// The folder holds something else.
    #[error("{}: expected an empty folder or one with {RUN_FILE}, found other \
        files", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// Another recording with other settings lives there.
    #[error("{} was recorded with {name} = {recorded}, now it is {asked}", path.display())]
    OtherSettings {
        /// The folder.
        path: PathBuf,
        /// The first setting that differs.
        name: String,
        /// Its value in the folder.
        recorded: String,
        /// Its value now.
        asked: String,
    },
    /// A prompt of that name was recorded with another text.
    #[error("{} was recorded with another prompt of the same id", path.display())]
    OtherPrompt {
        /// The file.
        path: PathBuf,
    },
    /// The folder holds no trace.
    #[error("no traces in {}", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A trace file is bad.
    #[error(transparent)]
    File(#[from] TraceFileError),
}

impl RunFolderError {
    /// The user's next step.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            RunFolderError::Io { .. } => "check the path, its permissions and the free space",
            RunFolderError::NotARun { .. } => "give an empty or new folder to record into",
            RunFolderError::OtherSettings { .. } | RunFolderError::OtherPrompt { .. } => {
                "give another folder, or the settings that the recording was begun with; run.json \
                 in the folder lists them"
            }
            RunFolderError::Empty { .. } | RunFolderError::Malformed { .. } => {
                "`speckv profile --trace DIR` records traces into a folder; give that folder"
            }
            RunFolderError::File(TraceFileError::Unreadable { .. }) => {
                "check the path and its permissions"
            }
            RunFolderError::File(_) => {
                "delete this file and run `speckv profile` again: it records only what is missing"
            }
        }
    }
}

impl RunFolder {
    /// The folder of a recording that was begun with these settings; `None` if none was begun
    /// there.
    ///
    /// # Errors
    /// [`RunFolderError::OtherSettings`], or a folder that cannot be read or holds something else.
    pub fn resume(path: &Path, settings: &Settings) -> Result<Option<Self>, RunFolderError> {
        if !path.join(RUN_FILE).exists() {
            let ours = format!("{RUN_FILE}.part");
            match fs::read_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => {
                    return Err(RunFolderError::Io {
                        action: "read",
                        path: path.to_owned(),
                        source,
                    });
                }
                Ok(mut entries) => {
                    if entries
                        .any(|entry| entry.map_or(true, |entry| entry.file_name() != ours.as_str()))
                    {
                        return Err(RunFolderError::NotARun { path: path.to_owned() });
                    }
                    return Ok(None);
                }
            }
        }
        let here = Self::open(path)?;
        match differences(&here.run.settings, settings).into_iter().next() {
            Some((name, recorded, asked)) => {
                Err(RunFolderError::OtherSettings { path: path.to_owned(), name, recorded, asked })
            }
            None => Ok(Some(here)),
        }
    }

    /// Begins a recording in a new or empty folder.
    ///
    /// # Errors
    /// [`RunFolderError`].
    pub fn create(path: &Path, run: &Run) -> Result<Self, RunFolderError> {
        fs::create_dir_all(path).map_err(|source| {
            let path = path.to_owned();
            RunFolderError::Io { action: "create", path, source }
        })?;
        write_run(path, run)?;
        // What was written is what counts: a number that JSON rounds must be the same in every
        // file.
        Self::open(path)
    }

    /// A folder that a recording was begun in.
    ///
    /// # Errors
    /// [`RunFolderError`].
    pub fn open(path: &Path) -> Result<Self, RunFolderError> {
        let file = path.join(RUN_FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_dir() => {
                return Err(RunFolderError::Empty { path: path.to_owned() });
            }
            Err(source) => return Err(RunFolderError::Io { action: "read", path: file, source }),
        };
        let run: Run = serde_json::from_str(&text)
            .map_err(|source| RunFolderError::Malformed { path: file, source })?;
        if !(1..=FORMAT).contains(&run.settings.format) {
            return Err(RunFolderError::OtherSettings {
                path: path.to_owned(),
                name: "format".into(),
                recorded: run.settings.format.to_string(),
                asked: FORMAT.to_string(),
            });
        }
        Ok(RunFolder { path: path.to_owned(), run })
    }

    /// Settings and origin.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Notes in `run.json` that this command line adds to the recording.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn note_command(&mut self, command: &[String]) -> Result<(), RunFolderError> {
        if self.run.origin.add_command(command) { write_run(&self.path, &self.run) } else { Ok(()) }
    }

    fn file(&self, prompt_id: &str) -> PathBuf {
        self.path.join(format!("{prompt_id}.parquet"))
    }

    /// Whether the prompt was recorded already.
    ///
    /// # Errors
    /// Its file is damaged, or was made for another prompt of that id.
    pub fn holds(&self, prompt: &PromptFacts) -> Result<bool, RunFolderError> {
        let path = self.file(&prompt.id);
        if !path.exists() {
            return Ok(false);
        }
        let there = trace_file::read(&path)?;
        if there.prompt != *prompt { Err(RunFolderError::OtherPrompt { path }) } else { Ok(true) }
    }

    /// Writes a prompt's file.
    ///
    /// # Errors
    /// [`RunFolderError`].
    pub fn save(&self, prompt: PromptFacts, recording: Recording) -> Result<(), RunFolderError> {
        let path = self.file(&prompt.id);
        let bytes = trace_file::to_bytes(&TraceFile { run: self.run.clone(), prompt, recording })?;
        write_whole(&path, &bytes)
    }

    /// All traces, by file name.
    ///
    /// # Errors
    /// [`RunFolderError`]; files of another recording are refused.
    pub fn load(&self) -> Result<Vec<TraceFile>, RunFolderError> {
        let io = |source| RunFolderError::Io { action: "read", path: self.path.clone(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|ending| ending == "parquet") {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Err(RunFolderError::Empty { path: self.path.clone() });
        }
        paths.sort();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let file = trace_file::read(&path)?;
            if let Some((name, asked, recorded)) =
                differences(&self.run.settings, &file.run.settings).into_iter().next()
            {
                return Err(RunFolderError::OtherSettings { path, name, recorded, asked });
            }
            files.push(file);
        }
        Ok(files)
    }
}

/// Writes the facts of a run into its folder.
pub(crate) fn write_run<T: serde::Serialize>(path: &Path, run: &T) -> Result<(), RunFolderError> {
    let file = path.join(RUN_FILE);
    let text = serde_json::to_string_pretty(run)
        .map_err(|source| RunFolderError::Malformed { path: file.clone(), source })?;
    write_whole(&file, text.as_bytes())
}

/// All or nothing: written under another name, flushed to the disk, renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunFolderError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = fs::File::create(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, path));
    written.map_err(|source| RunFolderError::Io { action: "write", path: path.to_owned(), source })
}
