//! A race of controllers on a real pair: from options to samples.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use speckv::{
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NgramSettings},
    engine::Clock,
    model::LanguageModel,
};
use speckv_lab::{columns, workload::Workload};

use super::{
    Contestant, Field, Meters, Race, Rules, Sample, Text, contestant, forecast, race,
    report::{EnergyNote, Subject},
    spoiled::Spoiled,
};
use speckv_local::{
    backend::{AnyModel, LocalModel},
    calibration, controllers, devices,
    draft_choice::DraftChoice,
    energy::{EnergyCounter, EnergyMeter, IDLE, NoCounter},
    failure::{Failure, Outcome, chain},
    interrupt::Interrupt,
    model_name::ModelName,
    model_source::ModelSource,
    pair::{LoadedDraft, Pair, PairFiles, with_masks},
    pair_settings::PairSettings,
    predictor_weights::Predictors,
    provenance,
    report::{Reporter, Unit},
    text::Conversation,
};

use crate::{answer, args::ComparisonOptions, pace::Pace, printer::Printer};

/// What is compared, on which prompts: everything that can be known before a model is loaded.
pub struct Contest {
    /// Target: catalogue name or path.
    pub target: ModelName,
    /// Who drafts.
    pub draft: DraftChoice,
    /// Who takes part; the first decodes plainly.
    pub contestants: Vec<Contestant>,
    /// The user named none of them.
    by_default: bool,
    predictors: Predictors,
    workload: Workload,
}

impl Contest {
    /// Reads the options; `several` compressions have a shorter list of contestants where the user
    /// gives none.
    ///
    /// # Errors
    /// Options that make no sense together, or files that cannot be read.
    pub fn new(options: &ComparisonOptions, several: bool, source: &ModelSource) -> Outcome<Self> {
        let (target, draft) = PairSettings::models(
            options.model.as_ref(),
            options.draft.as_ref(),
            DraftChoice::Ngram,
            &source.catalogue,
        );
        let has_model = draft.model().is_some();
        if draft == DraftChoice::None {
            return Err(Failure::usage(
                "without a draft there is nothing to compare",
                "give --draft MODEL or --draft ngram",
            ));
        }
        if options.spoil_draft && !has_model {
            return Err(Failure::usage(
                "there is no draft model to spoil",
                "give --draft MODEL, or remove --spoil-draft",
            ));
        }
        let contestants = contestants(options, several, has_model)?;
        let predictors =
            Predictors::read(options.paper_weights.as_deref(), options.predictor.as_deref())?;
        let by_default = options.controllers.is_none() && !several && has_model;
        let workload = workload(options)?;
        Ok(Contest { target, draft, contestants, by_default, predictors, workload })
    }
}

impl Contest {
    /// Who takes part, once it is known whether the draft model proposes several tokens in one
    /// pass.
    ///
    /// # Errors
    /// A contestant that needs such a draft model where there is none.
    fn of_pair(&self, is_parallel: bool) -> Outcome<Vec<Contestant>> {
        let mut all = self.contestants.clone();
        let told =
            |words: String| Failure::told(&words, "`speckv bench --help` shows every option");
        if is_parallel && self.by_default {
            let names = contestant::parallel_names();
            all.extend(contestant::list(&[], &names, true).map_err(told)?.into_iter().skip(1));
        }
        contestant::check_parallel(&all, is_parallel).map_err(told)?;
        Ok(all)
    }
}

/// What came of a race, and what ran.
pub struct Live {
    /// What was measured on what.
    pub subject: Subject,
    /// The prompts.
    pub texts: Vec<Text>,
    /// Who took part.
    pub contestants: Vec<Contestant>,
    /// What was measured.
    pub race: Race,
    /// Where its joules come from.
    pub energy: EnergyNote,
    /// The models.
    pub pair: Pair,
}

impl Live {
    /// Loads the pair and runs the race; samples go to `samples.csv` in the folder as they come.
    ///
    /// # Errors
    /// Files that cannot be used, prompts that do not fit, or a stop before anything was measured.
    pub fn run(
        contest: &Contest,
        settings: &PairSettings,
        options: &ComparisonOptions,
        rounds: usize,
        folder: Option<&Path>,
        (source, interrupt, printer): (&ModelSource, &Interrupt, &Printer),
    ) -> Outcome<Self> {
        if let Some(folder) = folder {
            fs::create_dir_all(folder)
                .map_err(|error| Failure::io("make the folder", folder, &error))?;
        }
        let backends = devices::of_pair(settings, source, interrupt, printer)?;
        let files = PairFiles::open(settings, source, interrupt, printer)?;
        let contestants = contest.of_pair(!files.mask_tokens()?.is_empty())?;
        let mut pair =
            Pair::with_drafter(&backends, settings, files, printer, |_, draft, vocab_size| {
                drafter(draft, vocab_size, options.spoil_draft)
            })?;
        let texts = texts(&pair, &contest.workload, options)?;
        let costs = calibration::costs(&pair, options.recalibrate, interrupt, printer)?;
        let (parts, predictor) = controllers::parts(
            &**pair.engine.target(),
            pair.draft.as_deref(),
            costs.model.clone(),
            0.0,
            None,
            &contest.predictors,
        )?;
        let rules = Rules {
            max_tokens: options.max_tokens,
            rounds,
            seed: options.seed,
            end_tokens: pair.text.tokenizer().end_tokens().to_vec(),
            cold_draft: options.cold_draft,
        };
        let target = Arc::clone(pair.engine.target());
        let name = |path: &Path| provenance::shown_name(&path.display().to_string());
        let sum = |path: &Path| Ok::<_, Failure>(provenance::checksum(path, interrupt, printer)?.0);
        let subject = Subject {
            target: name(&pair.target_path),
            target_sha256: sum(&pair.target_path)?,
            compression: target.compression().to_string(),
            target_bytes: target.pass_bytes(),
            draft: pair.draft_path.as_deref().map(name),
            draft_sha256: pair.draft_path.as_deref().map(sum).transpose()?,
            draft_compression: pair.draft.as_ref().map(|draft| draft.compression().to_string()),
            draft_bytes: pair.draft.as_ref().map(|draft| draft.pass_bytes()),
            kv: target.cache_type().name().to_owned(),
            spoiled_draft: options.spoil_draft,
            cold_draft: options.cold_draft,
            predictor,
            threads: target.threads(),
            instruction_set: target.processor(),
            split: options.split.to_string(),
            prompts: 0,
            max_tokens: rules.max_tokens,
            rounds: rules.rounds,
            seed: rules.seed,
            origin: provenance::Origin::here(),
            costs: costs.view(),
        };
        let field = Field { texts: &texts, contestants: &contestants, parts: &parts };
        let mut samples = folder.map(Samples::create).transpose()?;
        let has_model = pair.draft.is_some();
        let seconds = forecast::seconds(&field, &rules, Pace::of(&costs.model), has_model);
        printer.note(&forecast::line(&field, &rules, seconds));
        let (race, energy) =
            measure(&mut pair, &field, &rules, samples.as_mut(), interrupt, printer)?;
        if race.samples.is_empty() {
            return Err(Failure::interrupted(
                "stopped before any controller had answered a prompt",
                "fewer --controllers, --gammas or --max-tokens take less time",
            ));
        }
        Ok(Live { subject, texts, contestants, race, energy, pair })
    }
}

/// Who takes part.
fn contestants(
    options: &ComparisonOptions,
    several: bool,
    has_model: bool,
) -> Outcome<Vec<Contestant>> {
    let list = match &options.controllers {
        Some(names) if names.iter().any(|name| name == "none") => {
            contestant::list(&options.gammas.0, &[""; 0], has_model)
        }
        Some(names) => contestant::list(&options.gammas.0, names, has_model),
        None if several => contestant::list(&options.gammas.0, &["speckv"], has_model),
        None => {
            contestant::list(&options.gammas.0, contestant::default_names(has_model), has_model)
        }
    };
    list.map_err(|words| Failure::told(&words, "`speckv bench --help` shows every option"))
}

fn workload(options: &ComparisonOptions) -> Outcome<Workload> {
    let workload = match &options.workload {
        Some(folder) => Workload::from_dir(folder),
        None => Workload::builtin(),
    };
    let workload = workload.map_err(|error| {
        Failure::new(
            chain(&error),
            "a workload is a folder of .jsonl files, one prompt a line, named after their tasks",
        )
    })?;
    if let Some(task) = options.tasks.iter().find(|task| !workload.tasks().contains(&task.as_str()))
    {
        return Err(Failure::usage(
            format!("{task:?} is no task of the workload"),
            format!("its tasks are {}", workload.tasks().join(", ")),
        ));
    }
    Ok(workload)
}

/// The chosen prompts as the models read them. All are checked before anything is measured.
fn texts(pair: &Pair, workload: &Workload, options: &ComparisonOptions) -> Outcome<Vec<Text>> {
    let wanted =
        |task: &str| options.tasks.is_empty() || options.tasks.iter().any(|name| name == task);
    let mut texts = Vec::new();
    for task in workload.tasks().into_iter().filter(|task| wanted(task)) {
        let prompts = workload.select(options.split, Some(task));
        for prompt in prompts.take(options.prompts_per_task.unwrap_or(usize::MAX)) {
            let tokens = Conversation::new(prompt.system.as_deref())
                .prompt(&prompt.prompt, &pair.text)?
                .tokens;
            let (needed, context) =
                (tokens.len() + options.max_tokens, pair.engine.target().context_length());
            if needed > context {
                return Err(answer::prompt_too_long(needed, context).about(&prompt.id));
            }
            texts.push(Text { id: prompt.id.clone(), task: prompt.task.clone(), tokens });
        }
    }
    if texts.is_empty() {
        return Err(Failure::usage(
            format!("there is no prompt in the {} split", options.split),
            "try the other --split",
        ));
    }
    Ok(texts)
}

/// Look-up, and the draft model where there is one; contestants are shown what they may use.
fn drafter(
    draft: Option<LoadedDraft<AnyModel>>,
    vocab_size: usize,
    spoil: bool,
) -> Outcome<Box<dyn Drafter>> {
    let ngram = NgramDrafter::new(NgramSettings::default());
    Ok(match draft {
        None => Box::new(ngram),
        Some(LoadedDraft { model, masks }) if spoil => {
            let model = ModelDrafter::new(Arc::new(Spoiled(model)), vocab_size);
            Box::new(Both::new(ngram, with_masks(model, masks)?))
        }
        Some(draft) => Box::new(Both::new(ngram, draft.drafter(vocab_size)?)),
    })
}

fn measure(
    pair: &mut Pair,
    field: &Field<'_>,
    rules: &Rules,
    mut file: Option<&mut Samples>,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Outcome<(Race, EnergyNote)> {
    let mut meter = EnergyCounter::open().and_then(|counter| EnergyMeter::start(counter, IDLE));
    let mut progress = printer.progress("measuring", Unit::Items, Duration::ZERO);
    let clock = Clock::system();
    let mut failure = None;
    let outcome = race(
        &mut pair.engine,
        &mut Meters { clock: &clock, joules: &mut || net_joules(&mut meter) },
        field,
        rules,
        &mut |done, total| {
            progress.at(done, total);
            !interrupt.is_raised()
        },
        &mut |samples| {
            if let Some(file) = &mut file {
                failure = failure.take().or(file.write(samples, field).err());
            }
        },
    );
    progress.finish();
    match failure {
        Some(failure) => Err(failure),
        None => {
            let race = outcome.map_err(|error| answer::engine_failure(&error))?;
            let energy = meter.map_or_else(EnergyNote::from, |meter| EnergyNote::Counted {
                source: meter.source(),
                idle_watts: meter.idle_watts(),
            });
            Ok((race, energy))
        }
    }
}

/// Joules so far above those of the idle machine. A counter that fails counts no more.
fn net_joules(meter: &mut Result<EnergyMeter, NoCounter>) -> Option<f64> {
    let energy = meter.as_mut().ok()?.so_far();
    energy.map_err(|reason| *meter = Err(reason)).ok().map(|energy| energy.balance())
}

/// The file of all samples; what is measured is written at once, so that a crash loses one block at
/// most.
struct Samples {
    path: PathBuf,
    file: fs::File,
    begun: bool,
}

impl Samples {
    fn create(folder: &Path) -> Outcome<Self> {
        let path = folder.join("samples.csv");
        let file = fs::File::create(&path).map_err(|error| Failure::io("write", &path, &error))?;
        Ok(Samples { path, file, begun: false })
    }

    fn write(&mut self, block: &[Sample], field: &Field<'_>) -> Outcome<()> {
        let table = Sample::columns(block, field.texts, field.contestants);
        let text = columns::to_csv(&table).map_err(Failure::bug)?;
        let head = text.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let text = if self.begun { &text[head..] } else { &text[..] };
        self.begun = true;
        self.file.write_all(text).map_err(|error| Failure::io("write", &self.path, &error))
    }
}
