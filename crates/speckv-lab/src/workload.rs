//! Prompt sets, with their split into training and test prompts.

use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Which half of a workload a prompt belongs to, fixed once and for all in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For fitting predictors and choosing options.
    Train,
    /// For reported figures only.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Split::Train => "train",
            Split::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = WorkloadError;

    fn from_str(text: &str) -> Result<Self, WorkloadError> {
        match text {
            "train" => Ok(Split::Train),
            "test" => Ok(Split::Test),
            _ => Err(WorkloadError::UnknownSplit { got: text.into() }),
        }
    }
}

/// One prompt.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Unique name: task and number, `code-01`.
    pub id: String,
    /// Task; the name of the file without its ending.
    pub task: String,
    /// What it may be used for.
    pub split: Split,
    /// System message, if any.
    #[serde(default)]
    pub system: Option<String>,
    /// User message.
    pub prompt: String,
}

/// A set of prompts, by file and line in reading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    prompts: Vec<Prompt>,
}

/// Name and text of the files that are compiled in.
const BUILTIN: [(&str, &str); 5] = [
    ("code.jsonl", include_str!("../workloads/code.jsonl")),
    ("math.jsonl", include_str!("../workloads/math.jsonl")),
    ("chat.jsonl", include_str!("../workloads/chat.jsonl")),
    ("summarization.jsonl", include_str!("../workloads/summarization.jsonl")),
    ("editing.jsonl", include_str!("../workloads/editing.jsonl")),
];

impl Workload {
    /// The project's own workload: code, math, chat, summarization, editing.
    ///
    /// # Errors
    /// None in a released build: a test reads every file.
    pub fn builtin() -> Result<Self, WorkloadError> {
        Self::from_texts(BUILTIN.iter().map(|&(name, text)| (PathBuf::from(name), text.to_owned())))
    }

    /// All `*.jsonl` files of a folder, in the order of their names.
    ///
    /// # Errors
    /// A folder or file that cannot be read, a folder without such files, and everything that is
    /// wrong in a file, with its line.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self, WorkloadError> {
        let folder = folder.as_ref();
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| WorkloadError::Unreadable { path, source }
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
            let path = entry.map_err(unreadable(folder))?.path();
            if path.extension().is_some_and(|ending| ending == "jsonl") {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Err(WorkloadError::NoFiles { folder: folder.to_owned() });
        }
        paths.sort();
        let mut texts = Vec::with_capacity(paths.len());
        for path in paths {
            let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
            texts.push((path, text));
        }
        Self::from_texts(texts)
    }

    fn from_texts(
        texts: impl IntoIterator<Item = (PathBuf, String)>,
    ) -> Result<Self, WorkloadError> {
        let mut prompts: Vec<Prompt> = Vec::new();
        let mut seen: HashMap<String, (PathBuf, usize)> = HashMap::new();
        for (path, text) in texts {
            for (index, line) in
                text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
            {
                let line_number = index + 1;
                let invalid = |reason: String| WorkloadError::Invalid {
                    path: path.clone(),
                    line: line_number,
                    reason,
                };
                let prompt: Prompt =
                    serde_json::from_str(line).map_err(|error| invalid(error.to_string()))?;
                let expected_task = path
                    .file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned())
                    .unwrap_or_default();
                if prompt.task != expected_task {
                    return Err(invalid(format!(
                        "expected task \"{expected_task}\" in this file, got \"{}\"",
                        prompt.task
                    )));
                }
                let number =
                    prompt.id.strip_prefix(&prompt.task).and_then(|rest| rest.strip_prefix('-'));
                if !number.is_some_and(|digits| {
                    digits.len() >= 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
                }) {
                    return Err(invalid(format!(
                        "expected an id such as \"{}-01\", got \"{}\"",
                        prompt.task, prompt.id
                    )));
                }
                if prompt.prompt.trim().is_empty() {
                    return Err(invalid("expected a prompt, got an empty one".into()));
                }
                if let Some((first_path, first_line)) =
                    seen.insert(prompt.id.clone(), (path.clone(), line_number))
                {
                    return Err(invalid(format!(
                        "id \"{}\" stands already in {}:{first_line}",
                        prompt.id,
                        first_path.display()
                    )));
                }
                prompts.push(prompt);
            }
        }
        Ok(Workload { prompts })
    }

    /// Every prompt, in reading order.
    #[must_use]
    pub fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// Names of the tasks, each once, in reading order.
    #[must_use]
    pub fn tasks(&self) -> Vec<&str> {
        let mut tasks: Vec<&str> = Vec::new();
        for prompt in &self.prompts {
            if !tasks.contains(&prompt.task.as_str()) {
                tasks.push(&prompt.task);
            }
        }
        tasks
    }

    /// The prompts of one split, and of one task if it is named.
    pub fn select<'a>(
        &'a self,
        split: Split,
        task: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Prompt> {
        self.prompts.iter().filter(move |prompt| {
            prompt.split == split && task.is_none_or(|task| prompt.task == task)
        })
    }
}

/// What is wrong with a workload.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The folder has no `*.jsonl` file.
    #[error("expected files that end in .jsonl in {}, found none", folder.display())]
    NoFiles {
        /// The folder.
        folder: PathBuf,
    },
    /// A line is not a prompt.
    #[error("{}:{line}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What was expected and what was found.
        reason: String,
    },
    /// Not the name of a split.
    #[error("expected \"train\" or \"test\", got \"{got}\"")]
    UnknownSplit {
        /// The text.
        got: String,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn builtin() -> Workload {
        Workload::builtin().expect("the compiled-in workload is well-formed")
    }

    fn words(text: &str) -> usize {
        text.split_whitespace().count()
    }

    /// All runs of four words of a text, in lower case.
    fn shingles(text: &str) -> HashSet<String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        words.windows(4).map(|run| run.join(" ")).collect()
    }

    #[test]
    fn every_task_has_eight_train_prompts_and_at_least_eight_test_prompts() {
        let workload = builtin();
        assert_eq!(workload.tasks(), ["code", "math", "chat", "summarization", "editing"]);
        for task in workload.tasks() {
            assert_eq!(workload.select(Split::Train, Some(task)).count(), 8, "{task}");
            assert!(workload.select(Split::Test, Some(task)).count() >= 8, "{task}");
        }
    }

    #[test]
    fn prompts_have_the_size_that_their_task_is_about() {
        for prompt in builtin().prompts() {
            let (words, lines) = (words(&prompt.prompt), prompt.prompt.lines().count());
            let fits = match prompt.task.as_str() {
                "summarization" => (150..=380).contains(&words),
                "editing" => (80..=260).contains(&words) || (20..=50).contains(&lines),
                _ => (10..=160).contains(&words),
            };
            assert!(fits, "{}: {words} words, {lines} lines", prompt.id);
        }
    }

    #[test]
    fn no_test_prompt_repeats_a_train_prompt() {
        let workload = builtin();
        for test in workload.select(Split::Test, None) {
            let ours = shingles(&test.prompt);
            for train in workload.select(Split::Train, None) {
                let theirs = shingles(&train.prompt);
                let shared = ours.intersection(&theirs).count() as f64;
                let share = shared / ours.len().min(theirs.len()).max(1) as f64;
                assert!(
                    share < 0.2,
                    "{} and {} share {:.0}% of their four-word runs",
                    test.id,
                    train.id,
                    100.0 * share
                );
            }
        }
    }

    #[test]
    fn a_folder_reads_the_same_as_the_compiled_in_files() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
        let mut read = Workload::from_dir(folder).expect("the folder is well-formed").prompts;
        let mut built_in = builtin().prompts;
        read.sort_by(|a, b| a.id.cmp(&b.id));
        built_in.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(read, built_in);
    }

    #[test]
    fn errors_name_file_and_line() {
        let good = r#"{"id":"code-01","task":"code","split":"train","system":null,"prompt":"x"}"#;
        let cases = [
            (
                format!("{good}\n\n{good}"),
                "code.jsonl:3: id \"code-01\" stands already in code.jsonl:1",
            ),
            (
                good.replace("\"task\":\"code\"", "\"task\":\"math\""),
                "code.jsonl:1: expected task \"code\"",
            ),
            (
                good.replace("code-01", "first"),
                "code.jsonl:1: expected an id such as \"code-01\", got \"first\"",
            ),
            (good.replace("\"x\"", "\" \""), "code.jsonl:1: expected a prompt"),
            (format!("{good}\nnot json"), "code.jsonl:2: expected"),
            (good.replace("train", "validation"), "unknown variant `validation`"),
        ];
        for (text, message) in cases {
            let error = Workload::from_texts([(PathBuf::from("code.jsonl"), text)])
                .expect_err(message)
                .to_string();
            assert!(error.contains(message), "expected \"{message}\" in \"{error}\"");
        }
        let missing = Workload::from_dir("no/such/folder").expect_err("missing folder").to_string();
        assert!(missing.contains("no/such/folder"), "{missing}");
    }
}
