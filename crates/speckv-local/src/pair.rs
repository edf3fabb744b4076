//! Target, draft and what belongs to them, loaded from files.

use std::{
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
use speckv_formats::{checkpoint::Checkpoint, config::Config, tokenizer::Tokenizer};

use crate::{
    backend::{AnyModel, Backend, CacheType, LocalModel, PairBackends, WeightOptions},
    draft_choice::{DraftChoice, DraftHead, DraftModel},
    draft_search::{self, FoundDraft},
    drafting::{DraftOrigin, Drafting},
    failure::{DAMAGED, Failure, Outcome, chain},
    interrupt::Interrupt,
    known_drafts,
    memory::{self, MemoryNeed},
    model_source::ModelSource,
    other_content,
    pair_settings::{DraftSearch, PairSettings},
    report::{Reporter, Unit},
    text::{ModelText, file_name, tokenizer},
    units,
};

/// Context where the user gives none and the model allows it.
pub const DEFAULT_CONTEXT: usize = 4096;

/// A target that is ready to answer, with its drafter.
pub struct Pair<M: LocalModel = AnyModel> {
    /// Target and drafter.
    pub engine: Engine<M>,
    /// The draft model, if there is one.
    pub draft: Option<Arc<M>>,
    /// Mask tokens of a draft model that proposes several tokens in one pass.
    pub masks: Vec<Token>,
    /// The target's tokenizer and chat template; the draft's vocabulary is the same.
    pub text: ModelText,
    /// What drafts.
    pub drafting: Drafting,
    /// The target's file.
    pub target_path: PathBuf,
    /// The draft's file.
    pub draft_path: Option<PathBuf>,
}

/// A draft model as it was loaded.
pub struct LoadedDraft<M> {
    /// The weights.
    pub model: Arc<M>,
    /// Mask tokens, where it proposes several tokens in one pass.
    pub masks: Vec<Token>,
}

impl<M: LocalModel> LoadedDraft<M> {
    /// A drafter for a target with so many tokens.
    ///
    /// # Errors
    /// A mask token that the model does not have.
    pub fn drafter(self, vocab_size: usize) -> Outcome<ModelDrafter<M>> {
        with_masks(ModelDrafter::new(self.model, vocab_size), self.masks)
    }
}

/// A draft model with its mask tokens.
///
/// # Errors
/// A mask token that the model does not have.
pub fn with_masks<M: LanguageModel>(
    drafter: ModelDrafter<M>,
    masks: Vec<Token>,
) -> Outcome<ModelDrafter<M>> {
    drafter.with_masks(masks).map_err(|error| Failure::new(chain(&error), DAMAGED))
}

/// Opens a model file or folder without loading its weights.
///
/// # Errors
/// No file, no GGUF or Hugging Face folder, or one that is damaged or holds an unsupported type.
pub fn open(path: &Path) -> Outcome<Checkpoint> {
    Checkpoint::open(path).map_err(|error| {
        other_content::named(path)
            .unwrap_or_else(|| Failure::from_error(&error, error.hint(), DAMAGED))
    })
}

/// The configuration of a model that this program can run.
///
/// # Errors
/// Another architecture, or parameters that are missing or out of range.
pub fn check_config(file: &Checkpoint) -> Outcome<Config> {
    other_content::refuse_embeddings(file)?;
    file.config().map_err(|error| {
        let hint = "`speckv inspect MODEL` shows what the file holds; `speckv models` lists models \
                    that work";
        Failure::new(chain(&error), hint).about(file_name(file))
    })
}

/// Loads weights, with a progress display if that takes long. `context` is cut to what the model
/// was made for where `cut` is set.
///
/// # Errors
/// Another architecture, missing or misshapen tensors, a context that is too long, weights that do
/// not fit in memory or that the compression cannot represent.
pub fn load_model<B: Backend>(
    backend: &B,
    file: &Checkpoint,
    context: usize,
    cut: bool,
    options: &WeightOptions,
    reporter: &dyn Reporter,
) -> Outcome<Arc<B::Model>> {
    let longest = check_config(file)?.context_length;
    let &WeightOptions { compression, cache_type, .. } = options;
    memory::check(
        backend,
        &[MemoryNeed { file, compression, context, cache_type, what: "weights" }],
    )?;
    let context = if cut { context.min(longest) } else { context };
    let label = format!("loading {}", file_name(file));
    let mut progress = reporter.progress(&label, Unit::Bytes, Duration::from_secs(2));
    let loaded = backend.load(file, context, options, &mut |done, total| progress.at(done, total));
    progress.finish();
    file.check_unchanged().map_err(|error| Failure::from_error(&error, error.hint(), DAMAGED))?;
    loaded.map(Arc::new).map_err(|failure| failure.about(file_name(file)))
}

/// The files of target and draft, opened and compared, before weights are read.
pub struct PairFiles {
    /// The target's file.
    pub target: Checkpoint,
    /// The draft's file.
    pub draft: Option<Checkpoint>,
    /// The target's tokenizer and chat template.
    pub text: ModelText,
    /// What drafts.
    pub drafting: Drafting,
    config: Config,
    target_path: PathBuf,
    draft_path: Option<PathBuf>,
}

impl PairFiles {
    /// Opens target and draft; catalogue models that are absent are pulled first.
    ///
    /// # Errors
    /// A file that cannot be opened or read, or vocabularies that differ.
    pub fn open(
        settings: &PairSettings,
        source: &ModelSource,
        interrupt: &Interrupt,
        reporter: &dyn Reporter,
    ) -> Outcome<Self> {
        settings.draft_compression()?;
        let target_path = source.file(&settings.target, interrupt, reporter)?;
        let target = open(&target_path)?;
        let (draft_path, draft) = match settings.draft.model() {
            Some(DraftModel::Named(draft)) => {
                let path = source.file(draft, interrupt, reporter)?;
                let file = open(&path)?;
                (Some(path), Some(file))
            }
            Some(DraftModel::Itself(_)) => (Some(target_path.clone()), Some(target.clone())),
            None => (None, None),
        };
        // An unsupported architecture is reported before a vocabulary that it may come with.
        let config = check_config(&target)?;
        let text = ModelText::of(&target)?;
        if let Some(draft) = &draft {
            check_same_vocabulary(&target, text.tokenizer(), draft)?;
        }
        let drafting = Drafting { choice: settings.draft.clone(), origin: DraftOrigin::Asked };
        let mut files =
            PairFiles { target, draft, text, drafting, config, target_path, draft_path };
        if settings.search != DraftSearch::Off {
            files.search(settings.search, source);
        }
        Ok(files)
    }

    /// Adds a draft that is on this machine, if there is one.
    fn search(&mut self, search: DraftSearch, source: &ModelSource) {
        let found = draft_search::find(&self.target, &self.target_path, &self.text, source);
        let Some(FoundDraft { name, path, file }) = found else {
            let known = known_drafts::for_target(&self.target, self.text.tokenizer());
            self.drafting.origin = known.map_or(DraftOrigin::NothingFound, DraftOrigin::Offered);
            return;
        };
        let model = DraftModel::Named(name.into());
        self.drafting = Drafting {
            choice: match search {
                DraftSearch::BesideLookup => DraftChoice::Both(model),
                DraftSearch::Alone | DraftSearch::Off => DraftChoice::Model(model),
            },
            origin: DraftOrigin::Found,
        };
        (self.draft, self.draft_path) = (Some(file), Some(path));
    }

    /// Mask tokens of a draft model that proposes several tokens in one pass; none of another one.
    ///
    /// # Errors
    /// Mask tokens that are no tokens of the model.
    pub fn mask_tokens(&self) -> Outcome<Vec<Token>> {
        let Some(draft) = &self.draft else { return Ok(Vec::new()) };
        draft
            .mask_tokens()
            .map_err(|error| Failure::new(chain(&error), DAMAGED).about(file_name(draft)))
    }

    /// The memory of the target, and of the draft if there is one.
    ///
    /// # Errors
    /// A context that the target does not have, or a compression that the draft cannot have.
    pub fn memory_needs(
        &self,
        settings: &PairSettings,
    ) -> Outcome<(MemoryNeed<'_>, Option<MemoryNeed<'_>>)> {
        let context = self.context(settings.context)?;
        let &PairSettings { compression, cache_type, .. } = settings;
        let target =
            MemoryNeed { file: &self.target, compression, context, cache_type, what: "target" };
        let compression = settings.draft_compression()?;
        let draft = self.draft.as_ref();
        Ok((target, draft.map(|file| MemoryNeed { file, compression, what: "draft", ..target })))
    }

    /// Most tokens of prompt and answer: those asked for, else a default that fits the model.
    ///
    /// # Errors
    /// If more are asked for than the model was made for.
    pub fn context(&self, asked: Option<usize>) -> Outcome<usize> {
        let longest = self.config.context_length;
        match asked {
            Some(asked) if asked > longest => Err(Failure::usage(
                format!(
                    "--ctx {asked} is more than the {longest} tokens that the model was made for"
                ),
                format!("give at most --ctx {longest}"),
            )),
            Some(asked) => Ok(asked),
            None => Ok(DEFAULT_CONTEXT.min(longest)),
        }
    }
}

impl<M: LocalModel> Pair<M> {
    /// Loads target and draft; catalogue models that are absent are pulled first.
    ///
    /// # Errors
    /// Whatever keeps one of the files from being used, or vocabularies that differ.
    pub fn load(
        backends: &PairBackends<impl Backend<Model = M> + Clone>,
        settings: &PairSettings,
        source: &ModelSource,
        interrupt: &Interrupt,
        reporter: &dyn Reporter,
    ) -> Outcome<Self> {
        let files = PairFiles::open(settings, source, interrupt, reporter)?;
        Self::from_files(backends, settings, files, reporter)
    }

    /// As [`load`](Self::load), from files that are open already.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_files(
        backends: &PairBackends<impl Backend<Model = M> + Clone>,
        settings: &PairSettings,
        files: PairFiles,
        reporter: &dyn Reporter,
    ) -> Outcome<Self> {
        Self::with_drafter(backends, settings, files, reporter, drafter)
    }

    /// As [`from_files`](Self::from_files), with a drafter made by `drafter` from the draft model
    /// and the size of the target's vocabulary.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn with_drafter(
        backends: &PairBackends<impl Backend<Model = M> + Clone>,
        settings: &PairSettings,
        files: PairFiles,
        reporter: &dyn Reporter,
        drafter: impl FnOnce(&DraftChoice, Option<LoadedDraft<M>>, usize) -> Outcome<Box<dyn Drafter>>,
    ) -> Outcome<Self> {
        let draft_compression = settings.draft_compression()?;
        let context = files.context(settings.context)?;
        let mut masks = files.mask_tokens()?;
        let PairFiles {
            target: target_file,
            draft: mut draft_file,
            text,
            mut drafting,
            target_path,
            mut draft_path,
            ..
        } = files;
        let (compression, cache_type) = (settings.compression, settings.cache_type);
        let draft_cache = draft_file
            .as_ref()
            .map_or(cache_type, |file| draft_cache(&backends.draft, file, cache_type, reporter));
        if let Some(file) = &draft_file {
            let target =
                MemoryNeed { file: &target_file, compression, context, cache_type, what: "target" };
            let draft = MemoryNeed {
                file,
                compression: draft_compression,
                cache_type: draft_cache,
                what: "draft",
                ..target
            };
            match check_memory(backends, target, draft) {
                // A draft that was not asked for is no reason to fail.
                Err(_) if drafting.origin == DraftOrigin::Found => {
                    drafting.choice = match drafting.choice {
                        DraftChoice::Both(_) => DraftChoice::Ngram,
                        _ => DraftChoice::None,
                    };
                    drafting.origin = DraftOrigin::DoesNotFit;
                    (draft_file, draft_path) = (None, None);
                }
                fits => fits?,
            }
        }
        let weights = WeightOptions { compression, cache_type, ..WeightOptions::default() };
        let target =
            load_model(&backends.target, &target_file, context, false, &weights, reporter)?;
        // A draft with a shorter context stops drafting there; it need not hold the target's.
        let weights = WeightOptions {
            compression: draft_compression,
            head_gap: match settings.draft_head {
                DraftHead::First(count) => Some(text.tokenizer().rare(count)),
                DraftHead::Whole => None,
            },
            cache_type: draft_cache,
            drafts: true,
        };
        if let (Some(DraftModel::Itself(compression)), Some(file)) =
            (settings.draft.model(), &draft_file)
        {
            let bytes = backends.draft.weight_bytes(file, *compression);
            reporter.note(&format!(
                "the target's own copy in {compression} drafts: {} more of memory",
                units::bytes(bytes)
            ));
        }
        let context = target.context_length();
        let draft = draft_file
            .map(|file| load_model(&backends.draft, &file, context, true, &weights, reporter))
            .transpose()?;
        if draft.is_none() {
            masks.clear();
        }
        let loaded = draft.clone().map(|model| LoadedDraft { model, masks: masks.clone() });
        let drafter = drafter(&drafting.choice, loaded, target.vocab_size())?;
        let engine = Engine::new(target, drafter);
        Ok(Pair { engine, draft, masks, text, drafting, target_path, draft_path })
    }
}

/// Refuses a pair that does not fit the memory of its device, or of its two devices.
fn check_memory(
    backends: &PairBackends<impl Backend + Clone>,
    target: MemoryNeed<'_>,
    draft: MemoryNeed<'_>,
) -> Outcome<()> {
    if backends.share_memory() {
        return memory::check(&backends.target, &[target, draft]);
    }
    memory::check(&backends.target, &[target])?;
    memory::check(&backends.draft, &[draft])
}

/// What drafts.
fn drafter<M: LocalModel>(
    choice: &DraftChoice,
    draft: Option<LoadedDraft<M>>,
    vocab_size: usize,
) -> Outcome<Box<dyn Drafter>> {
    let lookup = || NgramDrafter::new(NgramSettings::default());
    let model = draft.map(|draft| draft.drafter(vocab_size)).transpose()?;
    Ok(match (choice, model) {
        (DraftChoice::Both(_), Some(model)) => Box::new(Both::new(lookup(), model)),
        (_, Some(model)) => Box::new(model),
        (DraftChoice::Ngram, None) => Box::new(lookup()),
        (_, None) => Box::new(NoDrafter::default()),
    })
}

/// The type of the draft's cache: as asked for the target, unless the draft's heads cannot be
/// stored so. It does not change the output.
fn draft_cache(
    backend: &impl Backend,
    file: &Checkpoint,
    asked: CacheType,
    reporter: &dyn Reporter,
) -> CacheType {
    // What is wrong with a configuration is reported where the model is loaded.
    let Ok(config) = file.config() else { return asked };
    if backend.supports_cache(&config, asked) {
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
            file_name(target_file),
            shown(&difference.theirs),
            file_name(draft_file)
        ),
        "take a draft of the target's own family, or `--draft ngram`, which needs no second model",
    ))
}
