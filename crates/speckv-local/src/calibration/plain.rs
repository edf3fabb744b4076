//! The time of a plain pass of one model on one device, by which `--device auto` chooses.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use speckv::{
    engine::Clock,
    model::{Cache, Feed, LanguageModel, ModelError, PassOutput},
};
use speckv_formats::compression::Compression;

use super::{kept, subject::Mark};
use crate::{backend::CacheType, machine};

/// Positions before the passes that are timed.
const POSITIONS: usize = 256;
/// Passes that are not timed: kernels are compiled and memory is touched for the first time.
const WARM_UP: usize = 2;
/// Passes that are timed; the median counts.
const PASSES: usize = 7;
/// Counts up when the file or the way of measuring changes.
const FORMAT: u32 = 1;

/// What a time belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainSubject {
    /// The processor of the host.
    host: String,
    /// Cores that the process may use.
    cores: usize,
    /// What computes, with driver or threads.
    device: String,
    /// This program.
    program: Mark,
    /// The model's file.
    model: Mark,
    compression: String,
    cache_type: String,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    subject: PlainSubject,
    seconds: f64,
}

impl PlainSubject {
    /// A model on the device with that identity. A model without a
    /// file that can be read has an empty mark.
    #[must_use]
    pub fn new(
        device: String,
        model: Option<&Path>,
        compression: Compression,
        cache_type: CacheType,
    ) -> Self {
        PlainSubject {
            host: machine::processor_or_target(),
            cores: machine::cores().get(),
            device,
            program: Mark::of_program(),
            model: model.and_then(|path| Mark::of(path).ok()).unwrap_or_default(),
            compression: compression.to_string(),
            cache_type: cache_type.name().to_owned(),
        }
    }

    /// Name of its file.
    fn file_name(&self) -> String {
        let digest = Sha256::digest(serde_json::to_vec(self).unwrap_or_default());
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("plain-{hex}.json")
    }
}

/// Seconds that are kept in `folder`; `None` if there are none, or none that can be used.
#[must_use]
pub fn read(folder: &Path, subject: &PlainSubject) -> Option<f64> {
    let text = fs::read_to_string(folder.join(subject.file_name())).ok()?;
    let document: Document = serde_json::from_str(&text).ok()?;
    let usable = document.format == FORMAT
        && document.subject == *subject
        && document.seconds.is_finite()
        && document.seconds > 0.0;
    usable.then_some(document.seconds)
}

/// Keeps seconds in `folder`.
///
/// # Errors
/// What the system says, with the path.
pub fn write(folder: &Path, subject: &PlainSubject, seconds: f64) -> Result<(), String> {
    let document = Document { format: FORMAT, subject: subject.clone(), seconds };
    let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
    kept::write_file(&folder.join(subject.file_name()), &text)
}

/// Seconds of a pass of one row that is followed by the choice of its token: the median of a few.
///
/// # Errors
/// A pass that fails.
pub fn measure<M: LanguageModel>(model: &M, clock: &Clock) -> Result<f64, ModelError> {
    let context = POSITIONS.min(model.context_length().saturating_sub(1));
    let (mut cache, mut output) = (model.new_cache()?, model.new_output());
    if context > 0 && !cache.pretend(context) {
        model.forward(&mut [Feed::new(&mut cache, &vec![0; context], 0)], &mut output)?;
    }
    let mut seconds = Vec::with_capacity(PASSES);
    for pass in 0..WARM_UP + PASSES {
        let start = clock.now();
        model.forward(&mut [Feed::new(&mut cache, &[0], 1)], &mut output)?;
        output.likeliest(0, model.vocab_size())?;
        if pass >= WARM_UP {
            seconds.push((clock.now() - start).as_secs_f64());
        }
        cache.truncate(context);
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[PASSES / 2])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use speckv::sim::{SimCost, SimModel, SimSettings};

    use super::*;

    #[test]
    fn a_plain_pass_takes_what_the_clock_says() {
        let (pass, token) = (Duration::from_millis(30), Duration::from_millis(2));
        let model = SimModel::new(SimSettings::default()).costing(SimCost { pass, token });
        let clock = Clock::Virtual(model.time().clone());
        let seconds = measure(&model, &clock).expect("passes");
        assert!((seconds - 0.032).abs() < 1e-9, "{seconds}");
    }

    #[test]
    fn a_time_is_found_again_by_what_it_belongs_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let subject = |device: &str| {
            PlainSubject::new(device.to_owned(), None, Compression::AsIs, CacheType::F16)
        };
        assert_eq!(read(folder.path(), &subject("a")), None);
        write(folder.path(), &subject("a"), 0.25).expect("written");
        assert_eq!(read(folder.path(), &subject("a")), Some(0.25));
        assert_eq!(read(folder.path(), &subject("b")), None);
        let path = folder.path().join(subject("a").file_name());
        for damage in ["", "{}", "-0.25"] {
            let text = fs::read_to_string(&path).expect("text").replace("0.25", damage);
            fs::write(&path, text).expect("written");
            assert_eq!(read(folder.path(), &subject("a")), None, "{damage:?}");
            write(folder.path(), &subject("a"), 0.25).expect("written");
        }
    }
}
