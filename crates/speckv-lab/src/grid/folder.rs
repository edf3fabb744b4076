//! A folder that holds one grid: a file per prompt and compression while it is recorded, and all of
//! it as one table at the end.
//!
//! `run.json` has the settings and the machine; `blocks/` has the parts, each written whole and
//! renamed; `steps.csv` and `steps.parquet` are put together from the parts in one order, whatever
//! the order in which they came. So a recording that was killed and begun again ends in the same
//! files, times aside.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Block, StepRow, parquet_rows::read_parquet, table_file};
use crate::{
    run::{ModelFacts, Origin, differences, unknown},
    run_folder::{RUN_FILE, RunFolderError, write_run, write_whole},
    sheet::SheetError,
};

/// The format's number.
pub const FORMAT: u32 = 1;
/// Name of the folder of parts.
const BLOCKS: &str = "blocks";

/// Place of a compression in tables and figures: the paper's three, the file as it is, then all
/// others alike.
#[must_use]
pub fn compression_rank(name: &str) -> usize {
    const ORDER: [&str; 4] = ["fp16", "int8", "nf4", "asis"];
    ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len())
}

/// Everything that a grid depends on, times aside.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GridSettings {
    /// Format of the files.
    pub format: u32,
    /// Version of the program that wrote them.
    pub version: String,
    /// The target; its compression is in the rows.
    pub target: ModelFacts,
    /// The draft model; none for look-up.
    pub draft: Option<ModelFacts>,
    /// What became of the draft's weights.
    pub draft_compression: String,
    /// Tokens that the draft's output head covers; none for all.
    pub draft_head: Option<usize>,
    /// Instruction set of the kernels; `unknown` in recordings that did not say.
    #[serde(default = "unknown")]
    pub instruction_set: String,
    /// Gammas, 0 for plain decoding.
    pub gammas: Vec<usize>,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Threads that computed.
    pub threads: usize,
    /// Decides the order of gammas on each prompt.
    pub seed: u64,
}

/// Settings and origin, as `run.json` and the metadata of `steps.parquet` hold them.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GridRun {
    /// What decides the rows.
    pub settings: GridSettings,
    /// Where they come from.
    pub origin: Origin,
}

/// Why a grid's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// The folder itself.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// One of its tables.
    #[error(transparent)]
    Sheet(#[from] SheetError),
    /// A file of a name that no block has.
    #[error("{}: expected COMPRESSION.PROMPT.DIGEST.csv", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// The recording has not come to its end.
    #[error("{}: the grid is not finished: {parts} of its parts are there, steps.csv is \
        not", path.display())]
    Unfinished {
        /// The folder.
        path: PathBuf,
        /// Parts recorded.
        parts: usize,
    },
    /// Seconds of two machines do not belong in one table.
    #[error("{} was recorded on {recorded}, this is {here}", path.display())]
    OtherMachine {
        /// The folder.
        path: PathBuf,
        /// Where it was begun.
        recorded: String,
        /// This machine.
        here: String,
    },
    /// A part whose rows contradict its name.
    #[error("{}: expected {expected}, got {got}", path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: String,
        /// What there is.
        got: String,
    },
    /// Writing a table failed.
    #[error("cannot put the table together: {reason}")]
    Table {
        /// The writer's reason.
        reason: String,
    },
}

impl GridError {
    /// The user's next step.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            GridError::Folder(RunFolderError::Empty { .. } | RunFolderError::Malformed { .. }) => {
                "`speckv profile --grid DIR` records a grid into a folder; give that folder"
            }
            GridError::Folder(error) => error.hint(),
            GridError::Unfinished { .. } => {
                "run the command in its run.json (origin.command) again: it records what is \
                 missing and writes the tables"
            }
            GridError::OtherMachine { .. } => {
                "give another folder, or go on with this one on the machine that began it"
            }
            GridError::Sheet(_) | GridError::Part { .. } | GridError::Name { .. } => {
                "delete this file and run the same `speckv profile` again: it records only what \
                 is missing"
            }
            GridError::Table { .. } => "check the free space and run the same command again",
        }
    }
}

/// The folder of one grid.
#[derive(Debug, Clone)]
pub struct GridFolder {
    path: PathBuf,
    run: GridRun,
}

/// What names a part: its compression, its prompt, and a digest of the prompt's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockName {
    /// How the target is stored.
    pub compression: String,
    /// The prompt's id.
    pub prompt_id: String,
    /// Some digits that change with the prompt's text.
    pub digest: String,
}

impl BlockName {
    fn file(&self) -> String {
        format!("{}.{}.{}.csv", self.compression, self.prompt_id, self.digest)
    }

    fn parse(name: &str) -> Option<Self> {
        let (compression, rest) = name.strip_suffix(".csv")?.split_once('.')?;
        let (prompt_id, digest) = rest.rsplit_once('.')?;
        let whole = [compression, prompt_id, digest].iter().all(|part| !part.is_empty());
        whole.then(|| BlockName {
            compression: compression.into(),
            prompt_id: prompt_id.into(),
            digest: digest.into(),
        })
    }
}

impl GridFolder {
    /// The folder of a recording that was begun with these settings; `None` if none was begun
    /// there.
    ///
    /// # Errors
    /// Other settings, or a folder that cannot be read or holds something else.
    pub fn resume(path: &Path, settings: &GridSettings) -> Result<Option<Self>, GridError> {
        if !path.join(RUN_FILE).exists() {
            let part = format!("{RUN_FILE}.part");
            let entries = match fs::read_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                entries => entries.map_err(|source| io_error("read", path, source))?,
            };
            for entry in entries {
                if entry.map_err(|source| io_error("read", path, source))?.file_name()
                    != part.as_str()
                {
                    return Err(RunFolderError::NotARun { path: path.to_owned() }.into());
                }
            }
            return Ok(None);
        }
        let here = Self::open(path)?;
        match differences(&here.run.settings, settings).into_iter().next() {
            Some((name, recorded, asked)) => {
                Err(RunFolderError::OtherSettings { path: path.to_owned(), name, recorded, asked }
                    .into())
            }
            None => Ok(Some(here)),
        }
    }

    /// Begins a recording in a new or empty folder.
    ///
    /// # Errors
    /// A folder or file that cannot be written.
    pub fn create(path: &Path, run: &GridRun) -> Result<Self, GridError> {
        fs::create_dir_all(path).map_err(|source| io_error("create", path, source))?;
        write_run(path, run)?;
        Self::open(path)
    }

    /// A folder that a grid was begun in.
    ///
    /// # Errors
    /// No grid there, or another format's.
    pub fn open(path: &Path) -> Result<Self, GridError> {
        let file = path.join(RUN_FILE);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_dir() => {
                return Err(RunFolderError::Empty { path: path.to_owned() }.into());
            }
            text => text.map_err(|source| io_error("read", &file, source))?,
        };
        let run: GridRun = serde_json::from_str(&text)
            .map_err(|source| RunFolderError::Malformed { path: file, source })?;
        if run.settings.format != FORMAT {
            let (recorded, asked) = (run.settings.format.to_string(), FORMAT.to_string());
            return Err(RunFolderError::OtherSettings {
                path: path.to_owned(),
                name: "format".into(),
                recorded,
                asked,
            }
            .into());
        }
        Ok(GridFolder { path: path.to_owned(), run })
    }

    /// Settings and origin.
    #[must_use]
    pub fn run(&self) -> &GridRun {
        &self.run
    }

    /// Checks that a recording goes on where it was begun: its seconds are compared with each
    /// other.
    ///
    /// # Errors
    /// [`GridError::OtherMachine`].
    pub fn check_machine(&self, here: &str) -> Result<(), GridError> {
        let recorded = &self.run.origin.machine;
        if recorded == here {
            return Ok(());
        }
        Err(GridError::OtherMachine {
            path: self.path.clone(),
            recorded: recorded.clone(),
            here: here.into(),
        })
    }

    /// Notes in `run.json` that this command line adds to the recording.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn note_command(&mut self, command: &[String]) -> Result<(), GridError> {
        if self.run.origin.add_command(command) {
            Ok(write_run(&self.path, &self.run)?)
        } else {
            Ok(())
        }
    }

    /// Parts that are there.
    ///
    /// # Errors
    /// A folder that cannot be read, or a file of another name.
    pub fn blocks(&self) -> Result<Vec<BlockName>, GridError> {
        let folder = self.path.join(BLOCKS);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|source| io_error("read", &folder, source))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| io_error("read", &folder, source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.ends_with(".part") {
                names.push(
                    BlockName::parse(&name)
                        .ok_or_else(|| GridError::Name { path: entry.path() })?,
                );
            }
        }
        Ok(names)
    }

    /// Whether a part is there and whole.
    ///
    /// # Errors
    /// It is damaged, or the prompt of that id had another text.
    pub fn holds(&self, name: &BlockName, there: &[BlockName]) -> Result<bool, GridError> {
        let key = |name: &BlockName| (name.compression.clone(), name.prompt_id.clone());
        match there.iter().find(|other| key(other) == key(name)) {
            None => Ok(false),
            Some(other) if other != name => {
                Err(RunFolderError::OtherPrompt { path: self.path.join(BLOCKS).join(other.file()) }
                    .into())
            }
            Some(_) => self.load(name).map(|_| true),
        }
    }

    /// Writes a part.
    ///
    /// # Errors
    /// A folder or file that cannot be written.
    pub fn save(&self, name: &BlockName, block: &Block) -> Result<(), GridError> {
        let folder = self.path.join(BLOCKS);
        fs::create_dir_all(&folder).map_err(|source| io_error("create", &folder, source))?;
        let bytes = table_file::to_csv(block)
            .map_err(|error| GridError::Table { reason: error.to_string() })?;
        Ok(write_whole(&folder.join(name.file()), &bytes)?)
    }

    fn load(&self, name: &BlockName) -> Result<Block, GridError> {
        let path = self.path.join(BLOCKS).join(name.file());
        let rows = table_file::read_csv(&path)?;
        let mut gammas: Vec<usize> = rows.iter().map(|row| row.gamma).collect();
        gammas.dedup();
        let foreign = rows
            .iter()
            .any(|row| (&row.compression, &row.prompt_id) != (&name.compression, &name.prompt_id));
        if gammas != self.run.settings.gammas || foreign {
            let expected =
                format!("answers to {} with gamma {:?}", name.prompt_id, self.run.settings.gammas);
            return Err(GridError::Part { path, expected, got: format!("gamma {gammas:?}") });
        }
        Ok(rows)
    }

    /// Puts `steps.csv` and `steps.parquet` together from all parts: by compression, gamma, task,
    /// prompt, step, as the paper's table is.
    ///
    /// # Errors
    /// [`GridError`].
    pub fn assemble(&self) -> Result<usize, GridError> {
        let mut rows: Vec<StepRow> = Vec::new();
        for name in self.blocks()? {
            rows.extend(self.load(&name)?);
        }
        rows.sort_by(|a, b| {
            let key = |row: &StepRow| (compression_rank(&row.compression), row.gamma);
            key(a).cmp(&key(b)).then_with(|| {
                (&a.compression, &a.task, &a.prompt_id, a.step).cmp(&(
                    &b.compression,
                    &b.task,
                    &b.prompt_id,
                    b.step,
                ))
            })
        });
        let failed = |reason: String| GridError::Table { reason };
        let facts = serde_json::to_string(&self.run).map_err(|error| failed(error.to_string()))?;
        let csv = table_file::to_csv(&rows).map_err(|error| failed(error.to_string()))?;
        let parquet =
            table_file::to_parquet(&rows, &facts).map_err(|error| failed(error.to_string()))?;
        write_whole(&self.path.join("steps.csv"), &csv)?;
        write_whole(&self.path.join("steps.parquet"), &parquet)?;
        Ok(rows.len())
    }

    /// The assembled records: `steps.csv`, or where only that is kept, `steps.parquet`.
    ///
    /// # Errors
    /// Not there yet, or damaged.
    pub fn steps(&self) -> Result<Vec<StepRow>, GridError> {
        let [csv, parquet] = ["steps.csv", "steps.parquet"].map(|name| self.path.join(name));
        match (csv.exists(), parquet.exists()) {
            (false, true) => Ok(read_parquet(&parquet)?),
            (false, false) => {
                Err(GridError::Unfinished { path: self.path.clone(), parts: self.blocks()?.len() })
            }
            (true, _) => Ok(table_file::read_csv(&csv)?),
        }
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> GridError {
    RunFolderError::Io { action, path: path.to_owned(), source }.into()
}
