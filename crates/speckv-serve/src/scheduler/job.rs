//! What goes to the scheduler and what comes back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use speckv::{
    controller::Drafting,
    engine::FinishReason,
    record::{Last, Source},
    sampling::SamplingSettings,
    token::Token,
};
use speckv_local::controllers::ControllerSpec;
use tokio::sync::mpsc::UnboundedSender;

use super::{handle::Place, predicted::Predicted};
use crate::constraints::Constraints;

/// How one answer speculates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speculation {
    /// What decides.
    pub controller: ControllerSpec,
    /// The controller's length.
    pub gamma: Option<usize>,
    /// What drafts.
    pub drafting: Drafting,
}

/// One answer to make.
#[derive(Debug)]
pub struct Job {
    /// The request's id, for logs.
    pub request: Arc<str>,
    /// Which of the request's answers.
    pub choice: usize,
    /// The client: clients take turns.
    pub client: u64,
    /// Prompts are shared within a scope only: what was read for another is read again.
    pub scope: u64,
    /// Tokens to continue.
    pub prompt: Arc<[Token]>,
    /// How tokens are chosen.
    pub sampling: SamplingSettings,
    /// Most tokens of the answer.
    pub max_tokens: usize,
    /// Texts that end it.
    pub stops: Vec<String>,
    /// Tokens that end it, besides those of the model.
    pub stop_tokens: Vec<Token>,
    /// Makes its constraint.
    pub constraints: Option<Constraints>,
    /// Control tokens are part of its text, spelled out.
    pub spells_control: bool,
    /// It continues the prompt's text.
    pub continues: bool,
    /// End tokens do not end it.
    pub ignore_end: bool,
    /// It may go on from what was read for an earlier request.
    pub reuse: bool,
    /// How many alternatives to report per token; `None` for no likelihoods.
    pub logprobs: Option<usize>,
    /// How it speculates.
    pub speculation: Speculation,
    /// What it will probably be.
    pub prediction: Option<Arc<[Token]>>,
    /// When it is given up.
    pub deadline: Instant,
    /// When it was asked for.
    pub asked: Instant,
    /// Where events go; a closed channel cancels the job.
    pub events: UnboundedSender<Event>,
    /// Its place in the queue.
    pub place: Place,
}

/// An event of one answer.
#[derive(Debug, Clone)]
pub struct Event {
    /// Which of the request's answers.
    pub choice: usize,
    /// What happened.
    pub news: News,
}

/// What happened to an answer.
#[derive(Debug, Clone)]
pub enum News {
    /// It left the queue.
    Started,
    /// A step made text.
    Step(Step),
    /// It is complete.
    Done(Box<Done>),
    /// It cannot be completed.
    Failed(Fault),
}

/// What a step made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// Tokens, with the text that each made certain.
    pub tokens: Vec<Spoken>,
    /// Tokens drafted in the step.
    pub drafted: usize,
    /// Draft tokens kept.
    pub accepted: usize,
    /// What drafted.
    pub source: Option<Source>,
    /// Time of the step.
    pub time: Duration,
    /// Sequences that shared its pass.
    pub sequences: usize,
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Spoken {
    /// The token; `None` for text that was held back until the end.
    pub token: Option<Token>,
    /// The text that it made certain.
    pub text: String,
    /// Where it begins in the answer's text, in characters; one that continues a character
    /// begins where that does.
    pub offset: usize,
    /// Where it came from.
    pub origin: Origin,
    /// How likely the target found it, and the likeliest alternatives.
    pub likelihood: Option<Likelihood>,
}

/// Natural logarithms of probabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct Likelihood {
    /// Of the token.
    pub token: f32,
    /// Of the likeliest tokens.
    pub top: Vec<(Token, f32)>,
}

/// Where a token came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Decoded without a draft.
    Plain,
    /// Drafted, and accepted by the target.
    Accepted,
    /// Drawn by the target in place of a rejected draft token.
    Recovered,
    /// Drawn by the target after a draft that was accepted in full.
    Bonus,
    /// The only token that a grammar allows: neither drafted nor decided.
    Forced,
}

impl From<Last> for Origin {
    fn from(last: Last) -> Self {
        match last {
            Last::Plain => Origin::Plain,
            Last::Recovered => Origin::Recovered,
            Last::Bonus => Origin::Bonus,
            Last::Accepted => Origin::Accepted,
        }
    }
}

/// A complete answer's sums.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Why it ended.
    pub reason: FinishReason,
    /// The stop string that ended it, if one did.
    pub by_stop_string: bool,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens that need not be read.
    pub cached_tokens: usize,
    /// Tokens of the answer, an end token included.
    pub tokens: usize,
    /// Of these, tokens of the first step: the pass that made them also read the end of the prompt.
    pub first_tokens: usize,
    /// Tokens drafted.
    pub drafted: usize,
    /// Draft tokens accepted.
    pub accepted: usize,
    /// Of the draft tokens, those that the request has predicted.
    pub predicted: Predicted,
    /// Tokens that a grammar forced, without a draft.
    pub forced: usize,
    /// Steps.
    pub steps: usize,
    /// Steps by the number of tokens drafted.
    pub gamma_histogram: Vec<usize>,
    /// The controller's name.
    pub controller: String,
    /// In the queue.
    pub waited: Duration,
    /// From leaving the queue to the first token.
    pub reading: Duration,
    /// From the first token to the last.
    pub speaking: Duration,
}

/// Why an answer cannot be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its time is over.
    #[error("the request took longer than its time limit")]
    Late,
    /// The server ends.
    #[error("the server is stopping")]
    Stopping,
    /// There is no memory for its state.
    #[error("there is no memory for another sequence: {0}")]
    Memory(String),
    /// Something is broken.
    #[error("the model failed on this request: {0}")]
    Internal(String),
}
