//! From what the user typed to what will be done: defaults filled in, contradictions refused.

use std::num::NonZeroUsize;

use speckv::{cost::CostModel, sampling::SamplingSettings};
use speckv_local::controllers::{ControllerParts, ControllerSpec};
use speckv_local::{
    backend::LocalModel,
    calibration::{self, Costs},
    catalogue::Catalogue,
    controllers,
    device_choice::DeviceChoices,
    draft_choice::DraftChoice,
    drafting::Drafting,
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    machine,
    model_name::ModelName,
    pair::Pair,
    pair_settings::{DraftSearch, PairSettings},
    predictor_weights::Predictors,
    report::Reporter,
    suggest,
};

use crate::{
    args::{CacheOptions, DraftWeightArgs, ModelOptions, SamplingOptions, WeightArgs},
    printer::Printer,
};

/// Most tokens of an answer where the user gives no number.
const DEFAULT_MAX_TOKENS: usize = 512;

/// How an answer is made.
#[derive(Debug, Clone)]
pub struct AnswerSettings {
    /// Who decides how far to draft.
    pub controller: ControllerSpec,
    /// Tokens that a step may draft; `None` is the controller's own number.
    pub gamma: Option<usize>,
    /// Weights of the controllers' predictors.
    pub predictors: Predictors,
    /// Costs are measured although there are some from before.
    pub recalibrate: bool,
    /// How tokens are chosen.
    pub sampling: SamplingSettings,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Texts that end an answer.
    pub stop: Vec<String>,
    /// Instructions before the conversation.
    pub system: Option<String>,
    /// The prompt goes to the model as it is.
    pub raw: bool,
}

/// Settings that can change during a chat.
const CHANGEABLE: [&str; 7] =
    ["temperature", "top-k", "top-p", "min-p", "repetition-penalty", "seed", "max-tokens"];

impl AnswerSettings {
    /// The settings that can change during a chat, in a line.
    #[must_use]
    pub fn shown(&self) -> String {
        let values = CHANGEABLE.map(|name| format!("{name} {}", self.value(name)));
        values.join(", ")
    }

    fn value(&self, name: &str) -> String {
        let sampling = &self.sampling;
        match name {
            "temperature" => sampling.temperature.to_string(),
            "top-k" => sampling.top_k.to_string(),
            "top-p" => sampling.top_p.to_string(),
            "min-p" => sampling.min_p.to_string(),
            "repetition-penalty" => sampling.repetition_penalty.to_string(),
            "seed" => sampling.seed.to_string(),
            _ => self.max_tokens.to_string(),
        }
    }

    /// Changes a setting by its option's name and gives its new value in words.
    ///
    /// # Errors
    /// No such setting, or a value outside its range; nothing has changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Outcome<String> {
        if !CHANGEABLE.contains(&name) {
            let list = CHANGEABLE.join(", ");
            let hint = suggest::closest(name, CHANGEABLE).map_or_else(
                || format!("the settings are {list}"),
                |meant| format!("did you mean {meant}? The settings are {list}"),
            );
            return Err(Failure::usage(format!("there is no setting {name:?}"), hint));
        }
        if value.is_empty() {
            return Ok(format!("{name} is {}", self.value(name)));
        }
        fn number<T: std::str::FromStr>(name: &str, value: &str) -> Outcome<T> {
            value.parse().map_err(|_| {
                Failure::usage(
                    format!("{name}: expected a number, got {value:?}"),
                    format!("/set {name} shows the value in use"),
                )
            })
        }
        let mut sampling = self.sampling.clone();
        let mut max_tokens = self.max_tokens;
        match name {
            "temperature" => sampling.temperature = number(name, value)?,
            "top-k" => sampling.top_k = number(name, value)?,
            "top-p" => sampling.top_p = number(name, value)?,
            "min-p" => sampling.min_p = number(name, value)?,
            "repetition-penalty" => sampling.repetition_penalty = number(name, value)?,
            "seed" => sampling.seed = number(name, value)?,
            _ => max_tokens = number::<NonZeroUsize>(name, value)?.get(),
        }
        sampling.check().map_err(|error| {
            Failure::usage(error, "`speckv chat --help` shows every option and its range")
        })?;
        (self.sampling, self.max_tokens) = (sampling, max_tokens);
        Ok(format!("{name} is {}", self.value(name)))
    }

    /// What the controller is made of.
    ///
    /// # Errors
    /// Shipped weights of the predictor are asked for, and there are none for this pair.
    pub fn parts(
        &self,
        pair: &Pair<impl LocalModel>,
        costs: Option<&Costs>,
    ) -> Outcome<ControllerParts> {
        let cost = costs.map_or_else(CostModel::uncalibrated, |costs| costs.model.clone());
        let (parts, _) = controllers::parts(
            &**pair.engine.target(),
            pair.draft.as_deref(),
            cost,
            self.sampling.temperature,
            self.gamma,
            &self.predictors,
        )?;
        Ok(parts)
    }

    /// Turns the controller off where nothing drafts.
    ///
    /// # Errors
    /// If the user asked for another one: without look-up and without a model, it cannot act.
    pub fn follow(&mut self, drafting: &Drafting, asked: bool) -> Outcome<()> {
        if drafting.choice != DraftChoice::None || self.controller == controllers::OFF {
            return Ok(());
        }
        if asked {
            return Err(Failure::usage(
                format!(
                    "the controller {} needs a draft, and no model is at hand",
                    self.controller
                ),
                "omit --no-lookup, or give --draft MODEL",
            ));
        }
        self.controller = controllers::OFF;
        Ok(())
    }

    /// Costs for a controller that decides by them; `None` for the others.
    ///
    /// # Errors
    /// As [`calibration::costs`].
    pub fn costs(
        &self,
        pair: &Pair<impl LocalModel>,
        interrupt: &Interrupt,
        reporter: &dyn Reporter,
    ) -> Outcome<Option<Costs>> {
        if !self.controller.needs_costs() {
            return Ok(None);
        }
        calibration::costs(pair, self.recalibrate, interrupt, reporter).map(Some)
    }
}

/// The settings of target and draft with their weights as the options say.
#[must_use]
pub fn pair_settings(
    target: ModelName,
    draft: DraftChoice,
    threads: NonZeroUsize,
    weights: &WeightArgs,
    cache: CacheOptions,
) -> PairSettings {
    let &WeightArgs { compression, draft: DraftWeightArgs { draft_compression, draft_head } } =
        weights;
    PairSettings {
        target,
        draft,
        search: DraftSearch::Off,
        devices: DeviceChoices::default(),
        threads,
        context: None,
        compression,
        draft_compression,
        draft_head,
        cache_type: cache.kv.0,
    }
}

/// Fills in defaults.
///
/// # Errors
/// Options that contradict each other.
pub fn resolve(
    models: &ModelOptions,
    sampling: &SamplingOptions,
    catalogue: &Catalogue,
) -> Outcome<(PairSettings, AnswerSettings)> {
    let (target, draft) = PairSettings::models(
        models.model.as_ref(),
        models.draft.as_ref(),
        DraftChoice::Ngram,
        catalogue,
    );
    // Neither the user nor the default pair names a draft.
    let unnamed = models.draft.is_none() && draft == DraftChoice::Ngram;
    let default = if draft == DraftChoice::None { controllers::OFF } else { controllers::DEFAULT };
    let controller = models.controller.unwrap_or(default);
    let off = controller == controllers::OFF;
    if !off && draft == DraftChoice::None {
        return Err(Failure::usage(
            format!("the controller {controller} needs a draft"),
            "give --draft MODEL or --draft ngram, or omit --controller",
        ));
    }
    if off && let Some(gamma) = models.gamma {
        return Err(Failure::usage(
            format!("--gamma {gamma} has no meaning where nothing is drafted"),
            "give --draft MODEL or --draft ngram, or omit --gamma",
        ));
    }
    if let Some(gamma) = models.gamma {
        controller.checked_gamma(gamma).map_err(|error| {
            Failure::usage(error, "remove --gamma, or choose another --controller")
        })?;
    }
    let looks_up = controller.may_look_up() && !models.no_lookup;
    let search = match (unnamed && !off, looks_up) {
        (false, _) => DraftSearch::Off,
        (true, true) => DraftSearch::BesideLookup,
        (true, false) => DraftSearch::Alone,
    };
    let draft = match search {
        DraftSearch::Off => with_lookup(draft, &controller, models.no_lookup)?,
        // Look-up is what remains where no model is found.
        _ if models.no_lookup => DraftChoice::None,
        _ => DraftChoice::Ngram,
    };
    let (threads, _) = threads(models.threads);
    let pair = PairSettings {
        context: models.ctx,
        search,
        devices: models.devices.choices(models.recalibrate),
        ..pair_settings(target, draft, threads, &models.weights, models.cache)
    };
    let answer = AnswerSettings {
        controller,
        gamma: models.gamma,
        predictors: Predictors::read(
            models.predictors.paper_weights.as_deref(),
            models.predictors.predictor.as_deref(),
        )?,
        recalibrate: models.recalibrate,
        sampling: SamplingSettings {
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repetition_penalty: sampling.repetition_penalty,
            seed: sampling.seed,
            ..SamplingSettings::default()
        },
        max_tokens: sampling.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
        stop: sampling.stop.clone(),
        system: sampling.system.clone(),
        raw: sampling.raw,
    };
    answer.sampling.check().map_err(|error| {
        Failure::usage(error, "`speckv run --help` shows every option and its range")
    })?;
    Ok((pair, answer))
}

/// Threads to compute with, and a warning if more were asked for than there are cores: they would
/// wait for each other.
#[must_use]
pub fn threads(asked: Option<usize>) -> (NonZeroUsize, Option<String>) {
    let cores = machine::cores();
    match asked.and_then(NonZeroUsize::new) {
        None => (machine::threads(), None),
        Some(asked) if asked > cores => {
            let text = format!(
                "--threads {asked} is more than the {cores} cores that this process may use; \
                 {cores} threads compute"
            );
            (cores, Some(text))
        }
        Some(asked) => (asked, None),
    }
}

/// Threads to compute with; warns where more are asked for than there are cores.
pub fn capped_threads(asked: Option<usize>, printer: &Printer) -> NonZeroUsize {
    warn_of_threads(asked, printer);
    threads(asked).0
}

/// Warns where more threads are asked for than there are cores.
pub fn warn_of_threads(asked: Option<usize>, printer: &Printer) {
    if let (_, Some(warning)) = threads(asked) {
        printer.warning(&warning);
    }
}

/// Adds look-up to the model, or leaves it out, as the controller can use it and the user wants it.
fn with_lookup(
    draft: DraftChoice,
    controller: &ControllerSpec,
    no_lookup: bool,
) -> Outcome<DraftChoice> {
    match draft {
        // A draft that is never used needs no memory.
        _ if *controller == controllers::OFF => Ok(DraftChoice::None),
        DraftChoice::Both(_) | DraftChoice::Ngram if no_lookup => {
            Err(Failure::usage("--no-lookup contradicts --draft with ngram", "give one of the two"))
        }
        DraftChoice::Both(_) if !controller.may_look_up() => Err(Failure::usage(
            format!("the controller {controller} drafts with the model alone"),
            format!(
                "--controller chain+{controller} looks up first; speckv, the default, chooses \
                 between the two"
            ),
        )),
        DraftChoice::Model(_) if no_lookup && controller.chain => Err(Failure::usage(
            format!("--no-lookup contradicts --controller {controller}"),
            "give one of the two",
        )),
        DraftChoice::Model(model) if controller.may_look_up() && !no_lookup => {
            Ok(DraftChoice::Both(model))
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use speckv_formats::compression::Compression;
    use speckv_local::draft_choice::DraftModel;

    use super::*;
    use crate::args::{Cli, Command};

    fn resolved(words: &str) -> Outcome<(PairSettings, AnswerSettings)> {
        let words = ["speckv", "run"].into_iter().chain(words.split_whitespace()).chain(["hello"]);
        let Command::Run(args) = Cli::try_parse_from(words).expect("well formed").command else {
            unreachable!()
        };
        resolve(&args.models, &args.sampling, &Catalogue::builtin())
    }

    #[test]
    fn the_default_draft_comes_only_with_the_default_target() {
        let draft = |words| resolved(words).expect("resolves").0.draft;
        let default = DraftChoice::Both(DraftModel::Named("qwen2.5-coder-0.5b".into()));
        assert_eq!(draft(""), default);
        assert_eq!(draft("--model qwen2.5-coder-1.5b"), default);
        assert_eq!(draft("--model other.gguf"), DraftChoice::Ngram);
        assert_eq!(draft("--model other.gguf --draft ngram"), DraftChoice::Ngram);
        assert_eq!(draft("--controller off"), DraftChoice::None, "it would not be used");
    }

    #[test]
    fn a_draft_on_this_machine_is_looked_for_where_none_is_named() {
        let search = |words| resolved(words).expect("resolves").0.search;
        assert_eq!(search("--model other.gguf"), DraftSearch::BesideLookup);
        assert_eq!(search("--model other.gguf --no-lookup"), DraftSearch::Alone);
        assert_eq!(search("--model other.gguf --controller fixed"), DraftSearch::Alone);
        for words in [
            "",
            "--model other.gguf --draft ngram",
            "--model other.gguf --draft none",
            "--model other.gguf --draft d.gguf",
            "--model other.gguf --controller off",
        ] {
            assert_eq!(search(words), DraftSearch::Off, "{words}");
        }
    }

    #[test]
    fn settings_of_a_chat_change_by_name_and_keep_their_ranges() {
        let (_, mut answer) = resolved("").expect("resolves");
        assert_eq!(answer.set("temperature", "0.7").expect("set"), "temperature is 0.7");
        assert_eq!(answer.set("max-tokens", "12").expect("set"), "max-tokens is 12");
        assert!(answer.shown().starts_with("temperature 0.7, top-k 0, "), "{}", answer.shown());
        for (name, value, word) in [
            ("temprature", "1", "did you mean temperature?"),
            ("temperature", "hot", "shows the value"),
            ("top-p", "7", "range"),
            ("max-tokens", "0", "shows the value"),
        ] {
            let failure = answer.set(name, value).expect_err(name);
            assert!(failure.hint().contains(word), "{failure:?}");
        }
        assert_eq!(answer.set("temperature", "").expect("shown"), "temperature is 0.7");
    }

    #[test]
    fn more_threads_than_cores_are_cut_with_a_warning() {
        let cores = machine::cores();
        assert_eq!(threads(None), (machine::threads(), None));
        assert_eq!(threads(Some(1)), (NonZeroUsize::MIN, None));
        let (cut, warning) = threads(Some(1024));
        assert_eq!(cut, cores);
        assert!(warning.expect("a warning").starts_with("--threads 1024 is more than"));
    }

    #[test]
    fn look_up_joins_the_model_where_the_controller_can_use_it() {
        let draft =
            |words: &str| resolved(&format!("--draft d.gguf {words}")).expect("resolves").0.draft;
        let named = DraftModel::Named("d.gguf".into());
        let (model, both) = (DraftChoice::Model(named.clone()), DraftChoice::Both(named));
        assert_eq!(draft(""), both);
        assert_eq!(draft("--no-lookup"), model);
        assert_eq!(draft("--controller fixed"), model);
        assert_eq!(draft("--controller ema"), model);
        assert_eq!(draft("--controller chain+ema"), both);
    }

    #[test]
    fn the_controller_follows_the_draft() {
        let of = |words| {
            let (_, answer) = resolved(words).expect("resolves");
            (answer.controller.to_string(), answer.gamma)
        };
        assert_eq!(of(""), ("speckv".into(), None));
        assert_eq!(of("--gamma 7"), ("speckv".into(), Some(7)));
        assert_eq!(of("--controller fixed-9"), ("fixed:9".into(), None));
        assert_eq!(of("--model other.gguf"), ("speckv".into(), None));
        assert_eq!(of("--model other.gguf --draft ngram"), ("speckv".into(), None));
        assert_eq!(of("--draft none"), ("off".into(), None));
    }

    #[test]
    fn the_drafts_weights_are_said_once() {
        let compression = |words| resolved(words).expect("resolves").0.draft_compression();
        assert_eq!(
            compression("--draft d.gguf").expect("by default"),
            "compact".parse().expect("known")
        );
        assert_eq!(
            compression("--draft d.gguf --draft-compression int8").expect("as asked"),
            Compression::Int8
        );
        assert_eq!(compression("--draft self:nf4").expect("its own"), Compression::Nf4);
        let twice =
            compression("--draft self:nf4+ngram --draft-compression int8").expect_err("two types");
        assert_eq!(twice.status(), 2);
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for words in [
            "--draft none --controller fixed",
            "--controller off --gamma 4",
            "--controller fixed-3 --gamma 4",
            "--controller ema --gamma 4",
            "--draft d.gguf+ngram --controller fixed",
            "--draft d.gguf+ngram --no-lookup",
            "--draft ngram --no-lookup",
            "--controller chain+fixed --no-lookup",
        ] {
            assert_eq!(resolved(words).expect_err(words).status(), 2, "{words}");
        }
        let beyond = Cli::try_parse_from(["speckv", "run", "--gamma", "65", "hello"]);
        assert!(beyond.is_err_and(|error| error.to_string().contains("from 1 to 64")));
    }
}
