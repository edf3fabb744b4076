//! What a recording was made with: models, settings, machine and commands.

use speckv::{cost::CostModel, draft::NgramSettings, predictor::SessionFacts};

use crate::trace::Depths;

/// A model of a recording.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelFacts {
    /// Name or path as the user gave it.
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

/// Everything that a trace depends on. Two recordings with the same settings have the same traces,
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
    /// Tokens that one pass of the draft model proposes; 0 where it proposes one per pass.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub block_max: usize,
    /// Most tokens that a live step may draft, whatever a controller plans. Recordings without
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
    /// Look-up's knobs: fewest and most matching tokens, most places compared; 0 for all places.
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

/// Recordings of drafts that propose one token per pass are as they were.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(number: &usize) -> bool {
    *number == 0
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
            block_max: self.block_max,
            gamma_limit: self.gamma_limit,
        }
    }

    /// What the texts and their records depend on, apart from the prompt: both models'
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
        [settings.min_match, settings.max_match, 0]
    }

    /// The facts that controllers get: greedy, with the target's compression.
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
