//! The weights of predictors that the user asks for: of acceptance a file of `speckv train`, those
//! shipped for the pair, or the prior; of the paper's rule the released file.

use std::{path::Path, sync::Arc};

use speckv::{
    controller::PaperPredictor,
    predictor::{ModelShape, Predictor},
};

use crate::{
    failure::{Failure, Outcome, chain},
    paper_weights,
};

/// Weights of all predictors that controllers decide by.
#[derive(Debug, Clone, Default)]
pub struct Predictors {
    /// Of the controller `paper`; `None` is its linear fallback.
    pub paper: Option<PaperPredictor>,
    /// Of acceptance.
    pub acceptance: Asked,
}

impl Predictors {
    /// What `--paper-weights` and `--predictor` say.
    ///
    /// # Errors
    /// A file that cannot be read or holds no such weights.
    pub fn read(paper_weights: Option<&Path>, predictor: Option<&str>) -> Outcome<Self> {
        Ok(Predictors {
            paper: paper_weights.map(paper_weights::read).transpose()?,
            acceptance: read(predictor)?,
        })
    }
}

/// Weights, and what records and messages call them.
#[derive(Debug, Clone)]
pub struct Weights {
    /// The weights.
    pub predictor: Arc<Predictor>,
    /// `shipped`, `prior`, or the file's name.
    pub name: String,
}

/// What was asked for, before it is known which pair it is for. A file is read already: a wrong one
/// is found out before gigabytes are.
#[derive(Debug, Clone, Default)]
pub enum Asked {
    /// Nothing: those shipped for the pair, else the prior.
    #[default]
    Best,
    /// Those shipped for the pair.
    Shipped,
    /// What holds for pairs without recordings.
    Prior,
    /// Those of a file.
    File(Weights),
}

/// What `--predictor` says: `shipped`, `prior`, or the path of a file.
///
/// # Errors
/// A file that cannot be read or holds no weights.
pub fn read(asked: Option<&str>) -> Outcome<Asked> {
    let path = match asked {
        None => return Ok(Asked::Best),
        Some("shipped") => return Ok(Asked::Shipped),
        Some("prior") => return Ok(Asked::Prior),
        Some(path) => Path::new(path),
    };
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    let predictor = Predictor::from_json(&text).map_err(|error| {
        Failure::new(chain(&error), "`speckv train` writes such files").about(path.display())
    })?;
    let name = crate::provenance::shown_name(&path.display().to_string());
    Ok(Asked::File(Weights { predictor: Arc::new(predictor), name }))
}

impl Asked {
    /// The weights for a pair.
    ///
    /// # Errors
    /// Shipped ones are asked for, and there are none for this pair.
    pub fn of(&self, target: &ModelShape, draft: Option<&ModelShape>) -> Outcome<Weights> {
        let prior = || Weights { predictor: Arc::new(Predictor::prior()), name: "prior".into() };
        let shipped = || {
            Predictor::shipped(target, draft)
                .map(|predictor| Weights { predictor, name: "shipped".into() })
        };
        match self {
            Asked::Best => Ok(shipped().unwrap_or_else(prior)),
            Asked::Prior => Ok(prior()),
            Asked::Shipped => shipped().ok_or_else(|| {
                Failure::new(
                    "no weights are shipped for this pair",
                    "`speckv train` makes some; or give --predictor prior",
                )
            }),
            Asked::File(weights) => Ok(weights.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_given_or_refused() {
        let stranger =
            ModelShape { architecture: "llama".into(), layers: 2, hidden: 32, vocab_size: 300 };
        let name =
            |asked| read(asked).expect("known").of(&stranger, None).map(|weights| weights.name);
        assert_eq!(name(None).expect("a fallback"), "prior");
        assert_eq!(name(Some("prior")).expect("always there"), "prior");
        assert!(name(Some("shipped")).expect_err("a stranger").hint().contains("speckv train"));
    }

    #[test]
    fn a_file_gives_the_weights_that_it_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mine.json").display().to_string();
        let stranger =
            ModelShape { architecture: "llama".into(), layers: 2, hidden: 32, vocab_size: 300 };
        std::fs::write(&path, serde_json::to_string(&Predictor::prior()).expect("weights"))
            .expect("a file");
        let weights = read(Some(&path)).expect("weights").of(&stranger, None).expect("any pair");
        assert_eq!(
            (weights.name.as_str(), &*weights.predictor),
            ("mine.json", &Predictor::prior())
        );
        std::fs::write(&path, "{}").expect("a file");
        assert!(read(Some(&path)).expect_err("no weights").message().contains("mine.json"));
    }
}
