//! From what the user calls a model to a file that is there: a path is checked, a catalogue name or
//! the name of a repository on the Hub is pulled on first use.

use std::{path::PathBuf, time::Duration};

use crate::{
    catalogue::{Catalogue, Entry},
    download::{self, DownloadError, Event, Installed, Options},
    failure::{Failure, Outcome},
    found_models::Caches,
    hub::{self, HubName, Pulled},
    interrupt::Interrupt,
    model_name::ModelName,
    report::{Reporter, Unit},
    store::{State, Store},
    suggest, units,
};

/// What a command needs to find models.
#[derive(Debug)]
pub struct ModelSource {
    /// Models known by name.
    pub catalogue: Catalogue,
    /// Where they are; `None` where the environment names no place.
    pub store: Option<Store>,
    /// Where they come from.
    pub options: Options,
    /// Where other programs keep models.
    pub caches: Caches,
}

impl ModelSource {
    /// The built-in catalogue, the user's store, and sources as the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        ModelSource {
            catalogue: Catalogue::builtin(),
            store: Store::from_environment(),
            options: Options::from_environment(),
            caches: Caches::from_environment(),
        }
    }

    /// The user's store.
    ///
    /// # Errors
    /// If the environment names no place for models.
    pub fn store(&self) -> Outcome<&Store> {
        self.store.as_ref().ok_or_else(|| {
            Failure::new(
                "no place for models: neither SPECKV_MODELS nor HOME is set",
                "set SPECKV_MODELS to a folder with room for the models, or give a file's path",
            )
        })
    }

    /// The entry of a catalogue name.
    ///
    /// # Errors
    /// If there is none; the hint names the closest, or all.
    pub fn entry(&self, name: &str) -> Outcome<&Entry> {
        self.catalogue.get(name).ok_or_else(|| {
            let hint = self.closest(name).unwrap_or_else(|| {
                format!(
                    "known names: {}; a GGUF file of your own needs no pull, give its path to \
                     --model",
                    self.catalogue.names()
                )
            });
            Failure::new(format!("{name:?} is not in the catalogue"), hint)
        })
    }

    /// The question whether a similar name was meant.
    fn closest(&self, name: &str) -> Option<String> {
        let names = self.catalogue.entries().iter().map(|entry| entry.name.as_str());
        suggest::closest(name, names).map(|meant| format!("did you mean {meant}?"))
    }

    /// The file or folder of a model given by catalogue name, by path, or by the name of a
    /// repository on the Hub where nothing has that path. What is absent is pulled first.
    ///
    /// # Errors
    /// If there is nothing at the path, or the pull fails.
    pub fn file(
        &self,
        model: &ModelName,
        interrupt: &Interrupt,
        reporter: &dyn Reporter,
    ) -> Outcome<PathBuf> {
        if let Some(entry) = model.as_str().and_then(|name| self.catalogue.get(name)) {
            let store = self.store()?;
            return match store.state(entry) {
                State::Ready => Ok(store.path(entry)),
                _ => self.pull(entry, interrupt, reporter).map(|installed| installed.path),
            };
        }
        let path = model.path();
        match std::fs::metadata(path) {
            Ok(_) => Ok(path.to_owned()),
            Err(error) => {
                if let Some(name) = model.as_str().and_then(HubName::parse) {
                    return self.pull_from_hub(&name, interrupt, reporter).map(|it| it.path);
                }
                let hint = model.as_str().and_then(|name| self.closest(name));
                let hint = hint.unwrap_or_else(|| {
                    format!(
                        "give the path of a GGUF file, of a Hugging Face folder, a repository as \
                         hf:USER/REPO, or one of the names {}",
                        self.catalogue.names()
                    )
                });
                Err(Failure::new(format!("cannot open the model {model}: {error}"), hint))
            }
        }
    }

    /// Makes a repository's model be in the Hub's cache, with a progress display.
    ///
    /// # Errors
    /// See [`hub::HubError`].
    pub fn pull_from_hub(
        &self,
        name: &HubName,
        interrupt: &Interrupt,
        reporter: &dyn Reporter,
    ) -> Outcome<Pulled> {
        let label = name.repo.rsplit('/').next().unwrap_or(&name.repo);
        let mut progress = reporter.progress(label, Unit::Bytes, Duration::from_millis(500));
        let result = hub::pull(name, &self.options, interrupt, &mut |event, total| match event {
            Event::Note(text) => progress.suspend(&mut || reporter.note(&text)),
            Event::At(bytes) => progress.at(bytes, total),
        });
        progress.finish();
        result.map_err(|error| {
            let hint = error.hint();
            match error.is_interrupt() {
                true => Failure::interrupted(error, hint),
                false => Failure::new(error, hint),
            }
        })
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
        let store = self.store()?;
        let present = matches!(store.state(entry), State::Ready | State::WrongSize(_));
        let patience = if present { Duration::from_secs(1) } else { Duration::ZERO };
        if !present {
            reporter.note(&format!(
                "{}: {}, {}, licence {}, to {}",
                entry.name,
                entry.title,
                units::bytes(entry.size),
                entry.licence.name,
                store.path(entry).display()
            ));
        }
        let mut progress = reporter.progress(&entry.name, Unit::Bytes, patience);
        let result =
            download::install(entry, store, &self.options, interrupt, &mut |event| match event {
                Event::Note(text) => progress.suspend(&mut || reporter.note(&text)),
                Event::At(bytes) => progress.at(bytes, entry.size),
            });
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
