//! `speckv chat`: a conversation in one sequence, so that every turn reads only what is new.

use std::{
    io::{self, BufRead, IsTerminal},
    path::PathBuf,
};

use rustyline::{DefaultEditor, error::ReadlineError};
use speckv::engine::{Sequence, SequenceSettings};
use speckv_local::{
    backend::{Backend, LocalModel, PairBackends},
    calibration::Costs,
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    model_source::ModelSource,
    pair::Pair,
    pair_settings::PairSettings,
    provenance,
    report::Reporter,
    store,
    text::{Conversation, PromptEncoder},
};

use crate::{
    answer::{self, Finish},
    args::ChatArgs,
    device::{self, OnDevice},
    interrupt,
    printer::{Printer, colour_allowed},
    prompt,
    settings::{self, AnswerSettings},
    stats::Stats,
    terminal_text::TerminalText,
};

const HELP: &str = "\
/help          this list
/reset         forget the conversation, keep the instructions
/system TEXT   new instructions, and a new conversation
/set           show the settings; /set temperature 0.7 changes one
/stats         speed and acceptance of the whole chat
/bye           leave; so do /exit, Ctrl-D, and Ctrl-C at the prompt
Ctrl-C while an answer comes stops it and keeps the chat.";

/// What a typed line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Nothing,
    Help,
    Reset,
    System(&'a str),
    Set(&'a str),
    Stats,
    Exit,
    Unknown(&'a str),
    Say(&'a str),
}

impl<'a> Line<'a> {
    fn read(text: &'a str) -> Self {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match word {
            "" => Line::Nothing,
            "/help" | "/?" => Line::Help,
            "/reset" => Line::Reset,
            "/system" => Line::System(rest.trim()),
            "/set" => Line::Set(rest.trim()),
            "/stats" => Line::Stats,
            "/bye" | "/exit" | "/quit" => Line::Exit,
            // A path or a comment may begin with a slash, a command is one word.
            word if word.starts_with('/') && word[1..].chars().all(char::is_alphabetic) => {
                Line::Unknown(word)
            }
            _ => Line::Say(text),
        }
    }
}

pub(super) fn run(args: &ChatArgs, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let (pair, settings) = settings::resolve(&args.models, &args.sampling, &source.catalogue)?;
    if settings.raw {
        return Err(Failure::usage(
            "a chat needs the model's chat template",
            "omit --raw, or use `speckv run --raw`",
        ));
    }
    settings::warn_of_threads(args.models.threads, printer);
    let interrupt = interrupt::install();
    let asked = args.models.controller.is_some();
    let heard = interrupt.clone();
    let start = Start { pair: &pair, settings, asked, source: &source, interrupt, printer };
    device::run(&pair, (&source, &heard), printer, start)
}

/// What a chat begins with.
struct Start<'a> {
    pair: &'a PairSettings,
    settings: AnswerSettings,
    asked: bool, // for a controller
    source: &'a ModelSource,
    interrupt: Interrupt,
    printer: &'a Printer,
}

impl OnDevice for Start<'_> {
    type Output = ();

    fn run<B: Backend + Clone>(self, backends: &PairBackends<B>) -> Outcome<()> {
        let Start { pair, mut settings, asked, source, interrupt, printer } = self;
        let pair = Pair::load(backends, pair, source, &interrupt, printer)?;
        if interrupt.is_raised() {
            return Err(Failure::interrupted(
                "stopped while loading",
                "start the chat again when there is time",
            ));
        }
        if let Some(warning) = pair.text.template_warning() {
            printer.warning(warning);
        }
        settings.follow(&pair.drafting, asked)?;
        let costs = settings.costs(&pair, &interrupt, printer)?;
        talk(Chat::new(pair, settings, costs, interrupt, *printer))
    }
}

fn talk<M: LocalModel>(mut chat: Chat<M>) -> Outcome<()> {
    let printer = chat.printer;
    let mut input = Input::new();
    printer.note(&chat.banner());
    printer.note(&chat.pair.drafting.to_string());
    if input.is_person() {
        chat.width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    }
    if input.is_interactive() {
        printer.note("/help lists what else can be typed; Ctrl-C stops an answer, Ctrl-D leaves");
    }
    while let Some(text) = input.line(&chat.interrupt)? {
        match Line::read(&text) {
            Line::Nothing => {}
            Line::Help => printer.note(HELP),
            Line::Reset => chat.reset(),
            Line::System(text) => chat.instruct(text),
            Line::Set(text) => match chat.set(text) {
                Ok(shown) => printer.note(&shown),
                Err(failure) => printer.failure(&failure),
            },
            Line::Stats => chat.total.lines().iter().for_each(|line| printer.note(line)),
            Line::Exit => break,
            Line::Unknown(word) => {
                printer.warning(&format!("there is no command {word}; /help lists them"))
            }
            Line::Say(text) => match chat.say(text) {
                // What concerns one turn does not end the chat.
                Err(failure) if !failure.is_silent() && input.is_interactive() => {
                    printer.failure(&failure)
                }
                outcome => outcome?,
            },
        }
    }
    Ok(())
}

struct Chat<M: LocalModel> {
    pair: Pair<M>,
    settings: AnswerSettings,
    costs: Option<Costs>,
    interrupt: Interrupt,
    printer: Printer,
    conversation: Conversation,
    sequence: Option<Sequence<M>>,
    total: Stats,
    /// Columns of the terminal that answers are shown on.
    width: Option<usize>,
}

impl<M: LocalModel> Chat<M> {
    fn new(
        pair: Pair<M>,
        settings: AnswerSettings,
        costs: Option<Costs>,
        interrupt: Interrupt,
        printer: Printer,
    ) -> Self {
        let conversation = Conversation::new(settings.system.as_deref());
        Chat {
            pair,
            settings,
            costs,
            interrupt,
            printer,
            conversation,
            sequence: None,
            total: Stats::default(),
            width: None,
        }
    }

    /// Model, controller and context in a line.
    fn banner(&self) -> String {
        format!(
            "{}, controller {}, context {} tokens",
            provenance::shown_name(&self.pair.target_path.display().to_string()),
            self.settings.controller,
            self.pair.engine.target().context_length()
        )
    }

    /// Changes a setting, or shows all.
    fn set(&mut self, text: &str) -> Outcome<String> {
        let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if name.is_empty() {
            return Ok(self.settings.shown());
        }
        let shown = self.settings.set(name, value.trim())?;
        // Sampling belongs to a sequence: the next answer reads the conversation again.
        if let Some(sequence) = self.sequence.take() {
            self.pair.engine.close(sequence);
        }
        Ok(shown)
    }

    fn reset(&mut self) {
        self.conversation = Conversation::new(self.settings.system.as_deref());
    }

    fn instruct(&mut self, text: &str) {
        self.settings.system = (!text.is_empty()).then(|| text.to_owned());
        self.reset();
    }

    /// One turn: the user's words, the model's answer. If it fails, it did not happen.
    fn say(&mut self, said: &str) -> Outcome<()> {
        let prompt = self.conversation.prompt(said, &self.pair.text)?;
        let tokens = &prompt.tokens;
        let context = self.pair.engine.target().context_length();
        if tokens.len() >= context {
            return Err(Failure::new(
                format!(
                    "the conversation has {} tokens, but the context holds {context}",
                    tokens.len()
                ),
                "/reset begins a new conversation; --ctx makes the context larger",
            ));
        }
        let mut sequence = match self.sequence.take() {
            Some(mut sequence) => {
                // What the conversation so far and the new one have in common stays read, and the
                // controller keeps what it has learned of models and machine.
                sequence.set_tokens(tokens).map_err(|error| answer::engine_failure(&error))?;
                sequence.reset_totals();
                sequence
            }
            None => {
                let parts = self.settings.parts(&self.pair, self.costs.as_ref())?;
                let settings = SequenceSettings {
                    prompt: tokens.clone(),
                    sampling: self.settings.sampling.clone(),
                    end_tokens: self.pair.text.end_tokens().to_vec(),
                    max_tokens: self.settings.max_tokens,
                    controller: self.settings.controller.build(&parts),
                };
                self.pair
                    .engine
                    .sequence(settings)
                    .map_err(|error| answer::engine_failure(&error))?
            }
        };
        let mut stop = self.settings.stop.clone();
        stop.extend(self.pair.text.stop_strings());
        let decoder = self.pair.text.decoder(false, stop);
        let printer = self.printer;
        self.interrupt.clear();
        let mut shown = self.width.map(|width| TerminalText::new(width, colour_allowed()));
        let given = answer::give(
            &mut self.pair.engine,
            &mut sequence,
            decoder,
            &self.interrupt,
            &printer,
            &mut |text| match &mut shown {
                Some(terminal) => printer.data(&terminal.push(text)),
                None => printer.data(text),
            },
        );
        if let Some(terminal) = &mut shown {
            printer.data(&terminal.finish())?;
        }
        let full = sequence.tokens().len() >= context;
        let costs = self.costs.as_ref().map(Costs::view);
        let stats = Stats::of(sequence.totals(), sequence.controller().name(), costs);
        self.sequence = Some(sequence);
        let answer = given?;
        printer.data("\n")?;
        match answer.finish {
            Finish::Stop => {}
            Finish::Length if full => {
                printer.warning(&format!(
                    "the context of {context} tokens is full; /reset begins a new conversation"
                ));
            }
            Finish::Length => {
                printer.aside(&format!(
                    "ended after {} tokens; --max-tokens allows more",
                    answer.tokens.len()
                ));
            }
            Finish::Interrupted => printer.aside("stopped"),
        }
        stats.lines().iter().for_each(|line| printer.aside(line));
        self.total.add(&stats);
        let by_stop_string = answer.finish == Finish::Stop
            && !answer.tokens.last().is_some_and(|&last| self.pair.text.is_end(last));
        let spoken = (!by_stop_string).then_some(answer.tokens.as_slice());
        self.conversation.answered(said, prompt, &answer.text, spoken, &self.pair.text);
        Ok(())
    }
}

/// File of the lines typed in earlier chats; `None` if no variable names a cache folder.
fn history() -> Option<PathBuf> {
    store::cache_folder().map(|folder| folder.join("speckv").join("chat_history"))
}

/// Where lines come from: an editor where a person types, plain lines elsewhere.
enum Input {
    Editor(Box<DefaultEditor>),
    Lines(usize),
}

impl Input {
    fn new() -> Self {
        let person = io::stdin().is_terminal() && io::stdout().is_terminal();
        match DefaultEditor::new() {
            Ok(mut editor) if person => {
                if let Some(path) = history() {
                    let _ = editor.load_history(&path); // absent at first
                }
                Input::Editor(Box::new(editor))
            }
            _ => Input::Lines(0),
        }
    }

    /// Whether a person types and reads on a terminal.
    fn is_person(&self) -> bool {
        matches!(self, Input::Editor(_))
    }

    fn is_interactive(&self) -> bool {
        matches!(self, Input::Editor(_)) || io::stdin().is_terminal()
    }

    /// The next line, or `None` when the user leaves.
    fn line(&mut self, interrupt: &Interrupt) -> Outcome<Option<String>> {
        interrupt.rest();
        match self {
            Input::Editor(editor) => match editor.readline("> ") {
                Ok(line) => {
                    // A line that the history refuses is still sent.
                    let _ = editor.add_history_entry(&line);
                    if let Some(path) = history() {
                        let _ = path.parent().map(std::fs::create_dir_all);
                        let _ = editor.save_history(&path);
                    }
                    Ok(Some(line))
                }
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                Err(error) => Err(Failure::new(
                    format!("cannot read from the terminal: {error}"),
                    "pipe the lines in instead: printf 'hello\\n' | speckv chat",
                )),
            },
            Input::Lines(number) => {
                let mut bytes = Vec::new();
                let count = io::stdin().lock().read_until(b'\n', &mut bytes).map_err(|error| {
                    Failure::new(
                        format!("cannot read standard input: {error}"),
                        "check where the input comes from",
                    )
                })?;
                *number += 1;
                if count == 0 {
                    Ok(None)
                } else {
                    prompt::utf8(bytes, &format!("standard input, line {number}")).map(Some)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_words() {
        for (text, line) in [
            ("  ", Line::Nothing),
            ("/help", Line::Help),
            (" /reset ", Line::Reset),
            ("/system Be brief.", Line::System("Be brief.")),
            ("/system", Line::System("")),
            ("/set temperature 0.7", Line::Set("temperature 0.7")),
            ("/stats", Line::Stats),
            ("/exit", Line::Exit),
            ("/bye", Line::Exit),
            ("/rest", Line::Unknown("/rest")),
            ("/etc/passwd is a file", Line::Say("/etc/passwd is a file")),
            ("// why two slashes?", Line::Say("// why two slashes?")),
            ("hello\n", Line::Say("hello")),
        ] {
            assert_eq!(Line::read(text), line, "{text:?}");
        }
    }
}
