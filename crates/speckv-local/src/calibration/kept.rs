//! Costs on disk, one small file per subject.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use speckv::cost::CostModel;

use super::subject::Subject;
use crate::store;

/// Counts up when the file or the way of measuring changes; other formats are measured anew.
const FORMAT: u32 = 3;

/// Where costs are kept: `speckv/costs` in the user's cache folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// What is there of a subject's costs.
#[derive(Debug)]
pub enum Kept {
    /// They can be used.
    Usable(Box<CostModel>),
    /// Nothing.
    Absent,
    /// A file that is damaged or from another version.
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    subject: Subject,
    cost: CostModel,
}

impl Folder {
    /// A folder, which need not exist yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Folder(path)
    }

    /// The user's; `None` if no variable names a cache folder.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        store::cache_folder().map(|cache| Folder(cache.join("speckv").join("costs")))
    }

    /// Its path.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// A subject's file.
    #[must_use]
    pub fn path(&self, subject: &Subject) -> PathBuf {
        self.0.join(format!("{}.json", subject.key()))
    }

    /// What is there.
    #[must_use]
    pub fn read(&self, subject: &Subject) -> Kept {
        let path = self.path(subject);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Kept::Absent,
            Err(error) => return Kept::Unusable { path, why: error.to_string() },
        };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let read = serde_json::from_str::<Format>(&text)
            .map_err(|error| error.to_string())
            .and_then(|head| {
                if head.format != FORMAT {
                    return Err(format!("format {}, expected {FORMAT}", head.format));
                }
                let document: Document =
                    serde_json::from_str(&text).map_err(|error| error.to_string())?;
                if document.subject == *subject {
                    Ok(document.cost)
                } else {
                    Err("it belongs to something else".into())
                }
            });
        match read {
            Ok(cost) => Kept::Usable(Box::new(cost)),
            Err(why) => Kept::Unusable { path, why },
        }
    }

    /// Keeps costs: a temporary file is written and renamed, so that a reader sees all or nothing.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn write(&self, subject: &Subject, cost: &CostModel) -> Result<(), String> {
        let path = self.path(subject);
        let document = Document { format: FORMAT, subject: subject.clone(), cost: cost.clone() };
        let text = serde_json::to_string_pretty(&document)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        write_file(&path, &text)
    }
}

/// Writes a file of a folder that need not exist yet, through a temporary file.
///
/// # Errors
/// What the system says, with the path.
pub(super) fn write_file(path: &Path, text: &str) -> Result<(), String> {
    let at = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
    }
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let written = fs::write(&temporary, format!("{text}\n"));
    written.and_then(|()| fs::rename(&temporary, path)).map_err(|error| {
        let _ = fs::remove_file(&temporary);
        at(path, error)
    })
}

#[cfg(test)]
mod tests {
    use super::{super::subject::Mark, *};

    fn subject() -> Subject {
        Subject {
            processor: "p".into(),
            cores: 2,
            instruction_set: "avx2".into(),
            draft_instruction_set: None,
            threads: 2,
            program: Mark::default(),
            target: Mark::default(),
            draft: None,
            compression: Vec::new(),
            draft_head: None,
            context: 1024,
            cache_type: "f16".into(),
        }
    }

    #[test]
    fn costs_come_back_and_damage_is_seen() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::new(temporary.path().join("deep").join("costs"));
        assert!(matches!(folder.read(&subject()), Kept::Absent));
        let cost = CostModel::uncalibrated();
        folder.write(&subject(), &cost).expect("written");
        let Kept::Usable(read) = folder.read(&subject()) else { panic!("expected the costs") };
        assert!((read.verify_seconds(7, 300) / cost.verify_seconds(7, 300) - 1.0).abs() < 1e-12);
        let other = Subject { threads: 1, ..subject() };
        assert!(matches!(folder.read(&other), Kept::Absent));
        assert_eq!(
            fs::read_dir(temporary.path().join("deep/costs")).expect("a folder").count(),
            1,
            "no leftovers"
        );

        let path = folder.path(&subject());
        let good = fs::read_to_string(&path).expect("text");
        let cases = [
            (good[..good.len() / 2].to_owned(), "EOF"),
            (good.replace("\"format\": 3", "\"format\": 2"), "format 2, expected 3"),
            (good.replace("\"threads\": 2", "\"threads\": 3"), "something else"),
            (good.replacen("\"seconds\": ", "\"seconds\": -", 1), "positive number"),
            ("\u{0}\u{1}".into(), "expected value"),
        ];
        for (text, expected) in cases {
            fs::write(&path, text).expect("a file");
            let Kept::Unusable { why, .. } = folder.read(&subject()) else {
                panic!("{expected}: should be refused")
            };
            assert!(why.contains(expected), "{why}");
        }
        folder.write(&subject(), &cost).expect("replaced");
        assert!(matches!(folder.read(&subject()), Kept::Usable(_)));
    }
}
