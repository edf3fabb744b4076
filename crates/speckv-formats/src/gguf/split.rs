//! Models in several files: `NAME-00001-of-00003.gguf` and those beside it.

use std::path::{Path, PathBuf};

use super::{GgufError, Metadata};

/// Of how many files this is one, which, from 0, and how many tensors all have.
const COUNT_KEY: &str = "split.count";
const NUMBER_KEY: &str = "split.no";
const TENSORS_KEY: &str = "split.tensors.count";

/// Most files of one model: what five digits can count.
const MOST: u64 = 99_999;

/// Which part of a model a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// Its number, from 0.
    pub number: u64,
    /// How many there are, more than 1.
    pub count: u64,
    /// Tensors of all parts, if the file says so.
    pub tensors: Option<u64>,
}

impl Split {
    /// What a file says of itself; `None` for a model in one file.
    pub(super) fn of(metadata: &Metadata) -> Result<Option<Self>, GgufError> {
        let Some(count) = metadata.opt_u64(COUNT_KEY)?.filter(|&count| count > 1) else {
            return Ok(None);
        };
        let number = metadata.opt_u64(NUMBER_KEY)?.unwrap_or(0);
        Ok(Some(Split { number, count, tensors: metadata.opt_u64(TENSORS_KEY)? }))
    }

    /// Why a part alone is no model.
    pub(super) fn alone(self) -> GgufError {
        GgufError::Split { part: self.number.saturating_add(1), count: self.count }
    }

    /// The paths of all parts, by that of this one.
    pub(super) fn paths(self, path: &Path) -> Result<Vec<PathBuf>, GgufError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let ending = part_ending(self.number, self.count);
        match name.and_then(|name| name.strip_suffix(&ending)) {
            Some(stem) if self.count <= MOST && self.number < self.count => Ok((0..self.count)
                .map(|number| {
                    path.with_file_name(stem.to_owned() + &part_ending(number, self.count))
                })
                .collect()),
            _ => Err(GgufError::SplitName {
                part: self.number.saturating_add(1),
                count: self.count,
                expected: ending,
            }),
        }
    }
}

fn part_ending(number: u64, count: u64) -> String {
    format!("-{:05}-of-{count:05}.gguf", number + 1)
}

/// Number, from 0, and count of a part, by its file's name; `None` for the name of a model in one
/// file.
#[must_use]
pub fn part_of_name(name: &str) -> Option<(u64, u64)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (_, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| {
        let whole = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        whole.then(|| text.parse::<u64>().ok())?
    };
    let (number, count) = (digits(number)?, digits(count)?);
    (number >= 1 && number <= count).then(|| (number - 1, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_told_from_others() {
        assert_eq!(part_of_name("a-b-00002-of-00003.gguf"), Some((1, 3)));
        let others = [
            "a.gguf",
            "a-00001-of-00003.bin",
            "a-0001-of-00003.gguf",
            "-of-.gguf",
            "a-00000-of-00003.gguf",
            "a-00004-of-00003.gguf",
            "a-+0001-of-00003.gguf",
        ];
        for other in others {
            assert_eq!(part_of_name(other), None, "{other}");
        }
    }

    #[test]
    fn a_part_names_those_beside_it_and_a_wrong_name_is_refused() {
        let split = Split { number: 1, count: 3, tensors: None };
        let paths = split.paths(Path::new("/m/x-00002-of-00003.gguf")).unwrap();
        let first = Path::new("/m/x-00001-of-00003.gguf");
        assert_eq!((paths.len(), paths[0].as_path()), (3, first));
        for wrong in ["/m/x.gguf", "/m/x-00001-of-00003.gguf", "/m/x-00002-of-00004.gguf"] {
            assert!(matches!(split.paths(Path::new(wrong)), Err(GgufError::SplitName { .. })));
        }
        let beyond = Split { number: u64::MAX - 1, count: u64::MAX, tensors: None };
        assert!(beyond.paths(Path::new("x")).is_err());
    }
}
