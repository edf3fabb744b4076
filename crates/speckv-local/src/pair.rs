//! Target, draft and what belongs to them, loaded from files.

use std::{
    num::NonZeroUsize,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use speckv::{
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NgramSettings, NoDrafter},
    engine::Engine,
    model::LanguageModel,
    token::Token,
};
use speckv_cpu::{
    matrix::PackError,
    model::{CacheType, CpuModel, LoadError, LoadOptions, packed_bytes},
    pool::Pool,
};
use speckv_formats::{
    chat_template::{ChatTemplate, Message, Origin, Prompt, UserText},
    checkpoint::Checkpoint,
    compression::Compression,
    tokenizer::{Tokenizer, TokenizerError},
    weights::WeightError,
};

use crate::{
    conversation::Scribe,
    draft_choice::{DraftChoice, DraftHead, DraftModel},
    failure::{Failure, Outcome, chain},
    interrupt::Interrupt,
    memory::{self, Claim},
    model_source::Shelf,
    pair_settings::PairSettings,
    report::{Reporter, Unit},
    units,
};

/// Context where the user gives none and the model allows it.
const DEFAULT_CONTEXT: usize = 4096;

const DAMAGED: &str = "the file may be damaged: fetch it again and compare its checksum";

/// A target that is ready to answer, with who drafts for it.
pub struct Pair {
    /// Target and drafter.
    pub engine: Engine<CpuModel>,
    /// The draft model, if there is one.
    pub draft: Option<Arc<CpuModel>>,
    /// The target's tokenizer; the draft's is the same.
    pub tokenizer: Tokenizer,
    /// The target's file.
    pub target_path: PathBuf,
    /// The draft's file.
    pub draft_path: Option<PathBuf>,
    template: ChatTemplate,
}

/// Opens a model file or folder without loading its weights.
///
/// # Errors
/// No file, no GGUF or Hugging Face folder, or one that is damaged or holds an unsupported type.
pub fn open(path: &Path) -> Outcome<Checkpoint> {
    Checkpoint::open(path).map_err(|error| Failure::from_error(&error, error.hint(), DAMAGED))
}

/// The tokenizer of a model.
///
/// # Errors
/// A vocabulary that is missing, damaged or of an unsupported kind.
pub fn tokenizer(file: &Checkpoint) -> Outcome<Tokenizer> {
    file.tokenizer()
        .map_err(|error| Failure::from_error(&error, error.hint(), DAMAGED).about(name(file)))
}

/// Threads for all models.
///
/// # Errors
/// If the system refuses to start them.
pub fn pool(threads: NonZeroUsize) -> Outcome<Arc<Pool>> {
    Pool::new(threads).map(Arc::new).map_err(|error| {
        Failure::new(
            format!("cannot start {threads} threads: {error}"),
            "give a smaller number with --threads",
        )
    })
}

/// How a model is loaded.
#[derive(Debug, Clone, Default)]
pub struct Treatment {
    /// What the matrices become.
    pub compression: Compression,
    /// The tokens that the output head leaves out while the text has none of them.
    pub head_gap: Option<Range<Token>>,
    /// How keys and values are stored.
    pub cache_type: CacheType,
}

/// Loads weights, with a progress display if that takes long. `context` is cut to what the model
/// was made for where `cut` says so.
///
/// # Errors
/// Another architecture, missing or misshapen tensors, a context that is too long, weights that do
/// not fit in memory or that the compression cannot hold.
pub fn model(
    file: &Checkpoint,
    pool: &Arc<Pool>,
    context: usize,
    cut: bool,
    treatment: Treatment,
    reporter: &dyn Reporter,
) -> Outcome<Arc<CpuModel>> {
    let failure = |error: LoadError| {
        let hint = match &error {
            LoadError::Context { most, .. } => format!("give at most --ctx {most}"),
            LoadError::CacheType { .. } => "leave --kv away: keys and values are then f16".into(),
            LoadError::Config(_) => {
                "`speckv inspect MODEL` shows what the file holds; `speckv models` lists models that work".into()
            }
            LoadError::Weight(WeightError::Store {
                source: PackError::Columns { .. } | PackError::Convert(_),
                ..
            }) => {
                "another --compression (or --draft-compression) can hold these weights; asis always can".into()
            }
            _ => DAMAGED.into(),
        };
        Failure::new(chain(&error), hint).about(name(file))
    };
    let longest = file.config().map_err(|error| failure(error.into()))?.context_length;
    let mut options = LoadOptions::new(Arc::clone(pool));
    let Treatment { compression, head_gap, cache_type } = treatment;
    memory::check(&[Claim { file, compression, context, cache_type, what: "weights" }])?;
    (options.head_gap, options.compression) = (head_gap, compression);
    options.cache_type = cache_type;
    options.context = Some(if cut { context.min(longest) } else { context });
    let mut progress =
        reporter.progress(&format!("loading {}", name(file)), Unit::Bytes, Duration::from_secs(2));
    let loaded = CpuModel::load(file, &options, &mut |at| progress.at(at.done, at.total));
    progress.finish();
    loaded.map(Arc::new).map_err(failure)
}

impl Pair {
    /// Loads target and draft; catalogue models that are absent are pulled first.
    ///
    /// # Errors
    /// Whatever keeps one of the files from being used, or vocabularies that differ.
    pub fn load(
        settings: &PairSettings,
        shelf: &Shelf,
        interrupt: &Interrupt,
        reporter: &dyn Reporter,
    ) -> Outcome<Self> {
        Self::load_with(settings, shelf, interrupt, reporter, |draft, vocab_size| {
            drafter(&settings.draft, draft, vocab_size)
        })
    }

    /// As [`load`](Self::load), with a drafter made by `drafter` from the draft model and the size
    /// of the target's vocabulary.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(
        settings: &PairSettings,
        shelf: &Shelf,
        interrupt: &Interrupt,
        reporter: &dyn Reporter,
        drafter: impl FnOnce(Option<Arc<CpuModel>>, usize) -> Box<dyn Drafter>,
    ) -> Outcome<Self> {
        // Cheap things first: a wrong draft is found out before gigabytes are read.
        let draft_compression = settings.draft_compression()?;
        let target_path = shelf.file(&settings.target, interrupt, reporter)?;
        let target_file = open(&target_path)?;
        let draft_path = match settings.draft.model() {
            Some(DraftModel::Named(draft)) => Some(shelf.file(draft, interrupt, reporter)?),
            Some(DraftModel::Itself(_)) => Some(target_path.clone()),
            None => None,
        };
        let draft_file = match settings.draft.model() {
            Some(DraftModel::Itself(_)) => Some(target_file.clone()),
            _ => draft_path.as_deref().map(open).transpose()?,
        };
        let tokenizer = tokenizer(&target_file)?;
        if let Some(draft_file) = &draft_file {
            check_same_vocabulary(&target_file, &tokenizer, draft_file)?;
        }
        let template = target_file.chat_template(&tokenizer).map_err(|error| {
            Failure::from_error(&error, error.hint(), DAMAGED).about(name(&target_file))
        })?;

        let pool = pool(settings.threads)?;
        let (context, cut) =
            (settings.context.unwrap_or(DEFAULT_CONTEXT), settings.context.is_none());
        let (compression, cache_type) = (settings.compression, settings.cache_type);
        let draft_cache =
            draft_file.as_ref().map_or(cache_type, |file| draft_cache(file, cache_type, reporter));
        if let Some(file) = &draft_file {
            let target =
                Claim { file: &target_file, compression, context, cache_type, what: "target" };
            let draft = Claim {
                file,
                compression: draft_compression,
                cache_type: draft_cache,
                what: "draft",
                ..target
            };
            memory::check(&[target, draft])?;
        }
        let treatment = Treatment { compression, head_gap: None, cache_type };
        let target = model(&target_file, &pool, context, cut, treatment, reporter)?;
        // A draft with a shorter context stops drafting there; it need not hold the target's.
        let treatment = Treatment {
            compression: draft_compression,
            head_gap: match settings.draft_head {
                DraftHead::First(count) => Some(tokenizer.rare(count)),
                DraftHead::Whole => None,
            },
            cache_type: draft_cache,
        };
        if let (Some(DraftModel::Itself(compression)), Some(file)) =
            (settings.draft.model(), &draft_file)
        {
            let bytes = packed_bytes(file, *compression);
            reporter.note(&format!(
                "the target's own copy in {compression} drafts: {} more of memory",
                units::bytes(bytes)
            ));
        }
        let draft = draft_file
            .map(|file| model(&file, &pool, target.context_length(), true, treatment, reporter))
            .transpose()?;
        let drafter = drafter(draft.clone(), target.vocab_size());
        let engine = Engine::new(target, drafter);
        Ok(Pair { engine, draft, tokenizer, target_path, draft_path, template })
    }

    /// The engine, and what knows the model's words.
    #[must_use]
    pub fn into_parts(self) -> (Engine<CpuModel>, Tokenizer, ChatTemplate) {
        (self.engine, self.tokenizer, self.template)
    }

    /// The tokens of a text that the model continues as it is.
    ///
    /// # Errors
    /// If the vocabulary cannot spell the text.
    pub fn raw(&self, text: &str) -> Outcome<Vec<Token>> {
        self.tokens(text, true)
    }

    /// Texts that end a turn of a model without tokens for that.
    #[must_use]
    pub fn stop_strings(&self) -> Vec<String> {
        self.template.stop_strings().iter().map(|&stop| stop.to_owned()).collect()
    }

    /// A warning if the model brings no chat template of its own.
    #[must_use]
    pub fn template_warning(&self) -> Option<&'static str> {
        match self.template.origin() {
            Origin::Model => None,
            Origin::ChatMl => {
                Some("the model has no chat template; ChatML is used since it has its tokens")
            }
            Origin::Plain => Some(
                "the model has no chat template and was perhaps not made for chat; --raw may fit it better",
            ),
        }
    }

    fn tokens(&self, text: &str, add_special: bool) -> Outcome<Vec<Token>> {
        self.tokenizer.encode(text, true, add_special).map_err(unspelled)
    }
}

impl Scribe for Pair {
    fn render(&self, messages: &[Message]) -> Outcome<Prompt> {
        self.template.prompt_of(messages).map_err(|error| {
            Failure::from_error(
                &error,
                error.hint(),
                "`--raw` gives the prompt to the model without its template",
            )
        })
    }

    fn encode(&self, prompt: &Prompt, from: usize) -> Outcome<Vec<Token>> {
        prompt.encode_from(from, &self.tokenizer, UserText::Plain).map_err(unspelled)
    }

    fn is_end(&self, token: Token) -> bool {
        self.tokenizer.end_tokens().contains(&token)
    }
}

/// A text that the vocabulary cannot spell.
fn unspelled(error: TokenizerError) -> Failure {
    Failure::from_error(&error, error.hint(), "change the text to what the vocabulary can spell")
}

/// Who drafts.
fn drafter(
    choice: &DraftChoice,
    draft: Option<Arc<CpuModel>>,
    vocab_size: usize,
) -> Box<dyn Drafter> {
    let lookup = || NgramDrafter::new(NgramSettings::default());
    let model = draft.map(|draft| ModelDrafter::new(draft, vocab_size));
    match (choice, model) {
        (DraftChoice::Both(_), Some(model)) => Box::new(Both::new(lookup(), model)),
        (_, Some(model)) => Box::new(model),
        (DraftChoice::Ngram, None) => Box::new(lookup()),
        (_, None) => Box::new(NoDrafter::default()),
    }
}

/// The type of the draft's cache: as asked for the target, unless the draft's heads cannot be
/// stored so. It does not change the output.
fn draft_cache(file: &Checkpoint, asked: CacheType, reporter: &dyn Reporter) -> CacheType {
    // What is wrong with a blueprint is said where the model is loaded.
    let Ok(config) = file.config() else { return asked };
    if asked.takes(config.head_dim) {
        return asked;
    }
    reporter.note(&format!(
        "the draft keeps its keys and values in f16: {asked} cannot hold heads of {}",
        config.head_dim
    ));
    CacheType::F16
}

fn check_same_vocabulary(
    target_file: &Checkpoint,
    target: &Tokenizer,
    draft_file: &Checkpoint,
) -> Outcome<()> {
    let Some(difference) = target.first_difference(&tokenizer(draft_file)?) else { return Ok(()) };
    let shown = |text: &Option<String>| {
        text.as_ref().map_or("absent".to_owned(), |text| format!("{text:?}"))
    };
    Err(Failure::new(
        format!(
            "draft and target have different vocabularies: token {} is {} in {} and {} in {}",
            difference.token,
            shown(&difference.ours),
            name(target_file),
            shown(&difference.theirs),
            name(draft_file)
        ),
        "take a draft of the target's own family, or `--draft ngram`, which needs no second model",
    ))
}

/// The file's path for messages.
fn name(file: &Checkpoint) -> String {
    file.path().map_or_else(|| "the model".to_owned(), |path| path.display().to_string())
}
