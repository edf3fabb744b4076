//! What the settings file says, where no flag says otherwise: with the ranges of the flags, and
//! errors that name the file.

use std::{fmt::Display, path::Path, str::FromStr};

use speckv_local::{
    controllers,
    device_choice::UnknownDevice,
    failure::{Failure, Outcome},
};
use speckv_serve::settings::FileSettings;

use crate::args::{Given, ModelOptions};

/// A settings file, for errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a>(pub Option<&'a Path>);

impl Origin<'_> {
    /// A value that a flag would not take.
    pub(super) fn wrong(self, key: &str, message: &str) -> Failure {
        let path =
            self.0.map_or_else(|| "the settings file".into(), |path| path.display().to_string());
        Failure::told(message, "`speckv serve --help` shows every option and its range")
            .about(format!("{path}: {key}"))
    }

    /// A value that the flag's parser reads.
    fn parsed<T>(
        self,
        key: &str,
        value: Option<impl Display>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Outcome<Option<T>> {
        let parsed = value.map(|value| parse(&value.to_string()));
        parsed.transpose().map_err(|message| self.wrong(key, &message))
    }

    /// The flag's number, else the file's, which has to be in the flag's range.
    pub(super) fn number(
        self,
        key: &str,
        flag: Option<u64>,
        file: Option<u64>,
        least: u64,
        most: u64,
    ) -> Outcome<Option<u64>> {
        match (flag, file) {
            (None, Some(value)) if !(least..=most).contains(&value) => Err(self.wrong(
                key,
                &format!("expected a whole number from {least} to {most}, got {value}"),
            )),
            (flag, file) => Ok(flag.or(file)),
        }
    }

    /// As [`number`](Self::number), of things that are counted.
    pub(super) fn count(
        self,
        key: &str,
        flag: Option<usize>,
        file: Option<usize>,
        least: u64,
        most: u64,
    ) -> Outcome<Option<usize>> {
        let wide = |value: Option<usize>| value.map(|value| value as u64);
        Ok(self.number(key, wide(flag), wide(file), least, most)?.map(|value| value as usize))
    }
}

/// Puts the file's models under those of the command line.
///
/// # Errors
/// A value that the flag would not take.
pub(super) fn under(
    models: &mut ModelOptions,
    given: &Given,
    file: &FileSettings,
    origin: Origin<'_>,
) -> Outcome<()> {
    let text = |value: &Option<String>| value.clone();
    models.model = models.model.take().or_else(|| text(&file.model).map(Into::into));
    if models.draft.is_none() {
        models.draft = origin.parsed("draft", text(&file.draft), FromStr::from_str)?;
    }
    if models.controller.is_none() {
        models.controller =
            origin.parsed("controller", text(&file.controller), controllers::parse)?;
    }
    models.gamma =
        origin.count("gamma", models.gamma, file.gamma, 1, controllers::MAX_GAMMA as u64)?;
    models.ctx = origin.count("ctx", models.ctx, file.ctx, 2, 16_777_216)?;
    models.threads = origin.count("threads", models.threads, file.threads, 1, 1024)?;
    models.predictors.paper_weights =
        models.predictors.paper_weights.take().or_else(|| file.paper_weights.clone());
    models.predictors.predictor =
        models.predictors.predictor.take().or_else(|| text(&file.predictor));
    // A switch has no way to be given as off.
    models.no_lookup |= file.no_lookup.unwrap_or(false);
    models.recalibrate |= file.recalibrate.unwrap_or(false);
    // These have defaults, so that whether they were given has to be asked.
    let unless_given = |key: &str, value: Option<String>| value.filter(|_| !given.has(key));
    let compression = |text: &str| {
        text.parse().map_err(|error| format!("{error}\nhint: asis keeps what the file has"))
    };
    if let Some(kv) = origin.parsed("kv", unless_given("kv", text(&file.kv)), FromStr::from_str)? {
        models.cache.kv = kv;
    }
    let device = |text: &str| text.parse().map_err(|error: UnknownDevice| error.to_string());
    let asked = unless_given("device", text(&file.device));
    if let Some(asked) = origin.parsed("device", asked, device)? {
        models.devices.device = asked;
    }
    if models.devices.draft_device.is_none() {
        models.devices.draft_device =
            origin.parsed("draft-device", text(&file.draft_device), device)?;
    }
    let weights = &mut models.weights;
    let asked = unless_given("compression", text(&file.compression));
    if let Some(asked) = origin.parsed("compression", asked, compression)? {
        weights.compression = asked;
    }
    let asked = unless_given("draft-compression", text(&file.draft_compression));
    if let Some(asked) = origin.parsed("draft-compression", asked, compression)? {
        weights.draft.draft_compression = Some(asked);
    }
    let asked = unless_given("draft-head", file.draft_head.as_ref().map(ToString::to_string));
    if let Some(asked) = origin.parsed("draft-head", asked, FromStr::from_str)? {
        weights.draft.draft_head = asked;
    }
    Ok(())
}
