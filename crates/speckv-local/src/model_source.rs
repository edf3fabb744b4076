//! From what the user calls a model to a file that is there: a path is checked, a catalogue name is
//! pulled on first use.

use std::{path::PathBuf, time::Duration};

use crate::{
    catalogue::{Catalogue, Entry},
    download::{self, DownloadError, Event, Installed, Options},
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    report::{Reporter, Unit},
    store::{State, Store},
    units,
};

/// What a command needs to find models.
#[derive(Debug)]
pub struct ModelSource {
    /// Models known by name.
    pub catalogue: Catalogue,
    /// Where they lie.
    pub store: Store,
    /// Where they come from.
    pub options: Options,
}

impl ModelSource {
    /// The built-in catalogue, the user's store, and sources as the environment says.
    ///
    /// # Errors
    /// If the environment names no place for models.
    pub fn from_environment() -> Outcome<Self> {
        Ok(ModelSource {
            catalogue: Catalogue::builtin(),
            store: Store::from_environment()?,
            options: Options::from_environment(),
        })
    }

    /// The entry of a catalogue name.
    ///
    /// # Errors
    /// If there is none; the hint lists the names.
    pub fn entry(&self, name: &str) -> Outcome<&Entry> {
        self.catalogue.get(name).ok_or_else(|| {
            Failure::new(
                format!("{name:?} is not in the catalogue"),
                format!(
                    "known names: {}; a GGUF file of your own needs no pull, give its path to --model",
                    self.catalogue.names()
                ),
            )
        })
    }

    /// The file or folder of a model given by catalogue name or by path. A catalogue model that is
    /// absent is pulled first.
    ///
    /// # Errors
    /// If there is nothing at the path, or the pull fails.
    pub fn file(
        &self,
        model: &str,
        interrupt: &Interrupt,
        reporter: &dyn Reporter,
    ) -> Outcome<PathBuf> {
        if let Some(entry) = self.catalogue.get(model) {
            return match self.store.state(entry) {
                State::Ready => Ok(self.store.path(entry)),
                _ => self.pull(entry, interrupt, reporter).map(|installed| installed.path),
            };
        }
        let path = PathBuf::from(model);
        match std::fs::metadata(&path) {
            Ok(_) => Ok(path),
            Err(error) => Err(Failure::new(
                format!("cannot open the model {model}: {error}"),
                format!(
                    "give the path of a GGUF file, of a Hugging Face folder, or one of the names {}",
                    self.catalogue.names()
                ),
            )),
        }
    }

    /// Installs an entry, with a progress display; verifies one that is there.
    ///
    /// # Errors
    /// See [`DownloadError`].
    pub fn pull(
        &self,
        entry: &Entry,
        interrupt: &Interrupt,
        reporter: &dyn Reporter,
    ) -> Outcome<Installed> {
        if entry.licence.restricted {
            reporter.warning(&format!(
                "{} comes under the {}, which restrict its use: {}",
                entry.title, entry.licence.name, entry.licence.url
            ));
        }
        let present = matches!(self.store.state(entry), State::Ready | State::WrongSize(_));
        let patience = if present { Duration::from_secs(1) } else { Duration::ZERO };
        if !present {
            reporter.note(&format!(
                "{}: {}, {}, licence {}, to {}",
                entry.name,
                entry.title,
                units::bytes(entry.size),
                entry.licence.name,
                self.store.path(entry).display()
            ));
        }
        let mut progress = reporter.progress(&entry.name, Unit::Bytes, patience);
        let result = download::install(
            entry,
            &self.store,
            &self.options,
            interrupt,
            &mut |event| match event {
                Event::Note(text) => progress.suspend(&mut || reporter.note(&text)),
                Event::At(bytes) => progress.at(bytes, entry.size),
            },
        );
        progress.finish();
        result.map_err(|error| {
            let hint = error.hint();
            match error {
                DownloadError::Interrupted { .. } | DownloadError::InterruptedWaiting => {
                    Failure::interrupted(error, hint)
                }
                _ => Failure::new(error, hint),
            }
        })
    }
}
