//! A folder of trace files that belong together: one per prompt, under one set of settings.
//!
//! Every file is written whole under another name and then renamed: whatever ends a recording, what
//! stands under a final name is complete, and the next run goes on with the prompts that are
//! missing.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use speckv::{cost::CostModel, draft::NgramSettings, predictor::SessionFacts};

use crate::{
    recorder::Recording,
    trace::Depths,
    trace_file::{self, FORMAT, PromptFacts, TraceFile, TraceFileError},
};

/// A model as a recording knows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelFacts {
    /// Name or path that it was asked for by.
    pub name: String,
    /// SHA-256 of its file, in lower-case hexadecimal digits.
    pub sha256: String,
    /// Size of its file.
    pub bytes: u64,
    /// Architecture, layers, width, vocabulary.
    pub shape: speckv::predictor::ModelShape,
    /// Type of most of its weights, as GGUF names it.
    pub compression: String,
}

/// What decides what a trace says. Two recordings with the same settings have the same traces,
/// times aside.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Format of the files.
    pub format: u32,
    /// Version of this program.
    pub version: String,
    /// The target.
    pub target: ModelFacts,
    /// The draft model, if there is one.
    pub draft: Option<ModelFacts>,
    /// Depth of the draft model's chains.
    pub gamma_max: usize,
    /// Depth of look-up's chains.
    pub ngram_max: usize,
    /// Most tokens that a live step may draft, whatever a controller asks for. Recordings without
    /// it were replayed with 16.
    #[serde(default = "library_limit")]
    pub gamma_limit: usize,
    /// What became of the target's weights: `asis`, `int8`; `unknown` in recordings that did not
    /// say.
    #[serde(default = "unknown")]
    pub compression: String,
    /// What became of the draft's weights; `none` without a draft model.
    #[serde(default = "unknown")]
    pub draft_compression: String,
    /// Tokens that the draft's output head covers, or `whole`; `none` without a draft model.
    #[serde(default = "unknown")]
    pub draft_head: String,
    /// Look-up's knobs: fewest and most matching tokens, most places.
    pub ngram: [usize; 3],
    /// Most tokens of a text.
    pub max_tokens: usize,
    /// Threads that computed.
    pub threads: usize,
    /// Bits that the target's compression took from 16 per weight, divided by 16.
    pub target_compression: f32,
}

/// The limit that replays took before recordings named it.
fn library_limit() -> usize {
    16
}

/// What recordings have for settings that they did not name.
pub(crate) fn unknown() -> String {
    "unknown".into()
}

impl Settings {
    /// How deep traces of these settings go.
    #[must_use]
    pub fn depths(&self) -> Depths {
        Depths {
            gamma_max: self.gamma_max,
            ngram_max: self.ngram_max,
            gamma_limit: self.gamma_limit,
        }
    }

    /// What decides the texts and what is said about them, apart from the prompt: both models'
    /// files and what became of their weights.
    #[must_use]
    pub fn pair(&self) -> [String; 5] {
        let draft = self.draft.as_ref().map_or_else(String::new, |draft| draft.sha256.clone());
        let (target, weights) = (self.target.sha256.clone(), self.compression.clone());
        [target, weights, draft, self.draft_compression.clone(), self.draft_head.clone()]
    }

    /// Settings with this version and format.
    #[must_use]
    pub fn version() -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    /// The knobs of look-up for [`Settings::ngram`].
    #[must_use]
    pub fn ngram_knobs(settings: &NgramSettings) -> [usize; 3] {
        [settings.min_match, settings.max_match, settings.max_places]
    }

    /// What controllers are told of the sequence: greedy, with the target's compression.
    #[must_use]
    pub fn facts(&self) -> SessionFacts {
        SessionFacts { temperature: 0.0, compression: self.target_compression }
    }
}

/// Names and values of everything in which two settings differ, as JSON.
pub(crate) fn differences<T: serde::Serialize>(
    ours: &T,
    theirs: &T,
) -> Vec<(String, String, String)> {
    let fields = |settings: &T| match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (ours, theirs) = (fields(ours), fields(theirs));
    let text =
        |value: Option<&serde_json::Value>| value.map_or("nothing".into(), ToString::to_string);
    ours.iter()
        .filter(|(name, value)| theirs.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), text(Some(value)), text(theirs.get(name))))
        .collect()
}

/// Where and how it was recorded: known, but not what a trace depends on.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Origin {
    /// Processor, cores, operating system.
    pub machine: String,
    /// The command line that began the recording; others that added to it follow, each after an
    /// element `;`.
    pub command: Vec<String>,
    /// Measured costs of the pair on this machine, if they were measured.
    pub cost: Option<CostModel>,
}

impl Origin {
    /// Adds a command line to [`command`](Self::command) unless it is one of those that stand
    /// there; `true` if it was new.
    pub fn add_command(&mut self, command: &[String]) -> bool {
        if self.command.split(|word| word == ";").any(|known| known == command) {
            return false;
        }
        if !self.command.is_empty() {
            self.command.push(";".into());
        }
        self.command.extend_from_slice(command);
        true
    }
}

/// A recording's settings and origin, as `run.json` and every file's metadata hold them.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Run {
    /// What decides the traces.
    pub settings: Settings,
    /// Where they come from.
    pub origin: Origin,
}

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
    #[error("{}: expected an empty folder or one with {RUN_FILE}, found other files", path.display())]
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
                "give another folder, or the settings that the recording was begun with; run.json in the folder lists them"
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
        if run.settings.format != FORMAT {
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
