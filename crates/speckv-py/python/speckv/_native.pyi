"""SpecKV's Rust code, as Python sees it.

Words: a *step* drafts some tokens, has the target verify them in one pass, and keeps the accepted
ones and one token more. *gamma* is how many tokens a step may draft. *Signals* are what the draft's
distribution says of itself: entropy in bits, confidence, margin.

Three levels, each built on the one before:

1. `Controller` decides. An engine of your own drafts and verifies, and tells it what happened:

       plan = controller.plan(len(tokens), gamma_limit=8, has_model=True)
       while controller.wants_more:
           token, signals = my_draft()                  # signals: speckv.read_signals(logits)
           controller.judge(token, signals)
       verified = controller.kept_tokens                # give these to the target
       controller.observe(accepted, next_token)         # the one after the accepted ones

2. `Drafter` drafts for many sequences at once, by n-gram look-up, by a draft model on the CPU, or
   by both, each position judged by the sequence's own controller. The engine only verifies.

3. `speckv.transformers` and `speckv.vllm` are whole integrations, in Python on top of these.

Every function is deterministic: the same calls in the same order give the same answers on every
machine and in every process. The clock is read only for the seconds that `Drafter.propose` reports,
and nothing learns from them unless they are handed back to `observe`.

Everything that fails raises `speckv.Error` with a `hint`. The GIL is released in whatever takes
longer than some 50 microseconds, but not while an array of NumPy is read: another thread could
write to it or resize it. Objects may be shared between threads, calls on the same object take
turns.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

__version__: str

Tokens = Sequence[int] | NDArray[np.int32] | NDArray[np.int64] | NDArray[np.uint32]
"""Token ids. One-dimensional contiguous arrays of these types are read without a Python loop."""

# -------------------- signals

@final
class Signals:
    """What a draft's distribution says of itself at one position, at temperature 1 and before any
    filter. Immutable.
    """

    def __new__(
        cls, entropy_bits: float, confidence: float, margin: float, match_length: int = 0
    ) -> Signals: ...
    @property
    def entropy_bits(self) -> float:
        """`-sum p log2 p`, from 0 to log2 of the vocabulary's size."""
    @property
    def confidence(self) -> float:
        """Largest probability."""
    @property
    def margin(self) -> float:
        """Largest less second largest probability."""
    @property
    def match_length(self) -> int:
        """For n-gram look-up, tokens that matched; 0 for a model."""
    def __eq__(self, other: object, /) -> bool: ...
    def __repr__(self) -> str: ...

def read_signals(logits: NDArray[np.float32]) -> tuple[int, Signals]:
    """The likeliest token (the first of several) and the signals of softmax(logits), in one pass
    over `logits` (`[vocab]`, float32, contiguous), which is neither copied nor changed.

    Raises `ArgumentError` for another type, shape or layout, and where no token can be made of it:
    a NaN, plus infinity, nothing but minus infinity."""

def read_signals_rows(logits: NDArray[np.float32]) -> list[tuple[int, Signals]]:
    """`read_signals` of every row of `logits` (`[rows, vocab]`, float32, each row contiguous: a
    slice of columns such as `logits[:, :vocab]` will do).
    """

# -------------------- decisions

MAX_GAMMA: int
"""Most tokens that a step may draft, whatever asks for them."""

LEAST_DRAFT_READING: int
"""Fewest tokens that a limit on the draft model's reading may allow per step."""

@final
class Source:
    """A source of drafts, known by its name. Compared with `==`."""

    MODEL: ClassVar[Source]
    """A draft model."""
    NGRAM: ClassVar[Source]
    PARALLEL: ClassVar[Source]
    """N-gram look-up of earlier text."""
    def __new__(cls, name: str) -> Source:
        """The source of this name: `a` to `z`, digits and `_`. Raises `ValueError` for another
        name, or for more than 8 sources.
        """
    @property
    def name(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __repr__(self) -> str: ...

@final
class Verdict:
    """What becomes of the newest drafted position: CONTINUE keeps it and drafts one more, VERIFY
    keeps it and verifies, DROP verifies without it.
    """

    CONTINUE: ClassVar[Verdict]
    VERIFY: ClassVar[Verdict]
    DROP: ClassVar[Verdict]
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __int__(self) -> int: ...
    def __repr__(self) -> str: ...

@final
class Plan:
    """A controller's decision before a step. Immutable."""

    @property
    def gamma(self) -> int:
        """Most tokens to draft, within the limit that was given; 0 is plain decoding."""
    @property
    def source(self) -> Source: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __repr__(self) -> str: ...

@final
class Lookup:
    """What n-gram look-up could offer, known before drafting. Immutable."""

    def __new__(cls, match_length: int, available: int, signals: Signals) -> Lookup: ...
    @property
    def match_length(self) -> int:
        """Tokens at the end of the text that stand at the place found too."""
    @property
    def available(self) -> int:
        """Tokens that follow there."""
    @property
    def signals(self) -> Signals:
        """Distribution of the first token over all places found."""
    def __eq__(self, other: object, /) -> bool: ...
    def __repr__(self) -> str: ...

@final
class SharedPass:
    """Who else is in the target's pass, as one sequence sees it. Immutable.

    `sequences`: sequences that wait for the pass, this one included. `rows`: rows of the pass
    whatever anybody drafts (one per decoding sequence, and
    chunks of prompts). `drafted_beside`: rows of others' drafts, as far as known.
    `drafting_beside`: other sequences that draft with the model."""

    ALONE: ClassVar[SharedPass]
    def __new__(
        cls, sequences: int = 1, rows: int = 1, drafted_beside: int = 0, drafting_beside: int = 0
    ) -> SharedPass: ...
    @property
    def sequences(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def drafted_beside(self) -> int: ...
    @property
    def drafting_beside(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __repr__(self) -> str: ...

@final
class StepRecord:
    """One finished step, from decision to outcome. Immutable."""

    @property
    def step(self) -> int:
        """Number of the step in its sequence, from 0."""
    @property
    def context(self) -> int:
        """Tokens before the step."""
    @property
    def gamma_limit(self) -> int: ...
    @property
    def draft_behind(self) -> int: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def drafted(self) -> list[tuple[int, Signals]]:
        """Tokens proposed, the dropped one included."""
    @property
    def verified(self) -> int: ...
    @property
    def accepted(self) -> int: ...
    @property
    def last(self) -> Literal["plain", "recovered", "bonus", "accepted"]:
        """What made the step's last token."""
    @property
    def tokens(self) -> list[int]:
        """Tokens that the step added, accepted ones first."""
    @property
    def forced(self) -> list[int]:
        """Which of `tokens` a constraint forced, ascending; they are not among `drafted`."""
    @property
    def forced_rows(self) -> int:
        """Rows of the target's pass that read forced tokens."""
    @property
    def censored(self) -> bool:
        """Budget, context or an end token decided how far the step went."""
    @property
    def catch_up_seconds(self) -> float: ...
    @property
    def draft_seconds(self) -> float: ...
    @property
    def verify_seconds(self) -> float: ...
    @property
    def total_seconds(self) -> float: ...
    def label(self, position: int) -> bool | None:
        """Whether draft token `position` (from 0) was accepted; None where that was not seen."""
    def __eq__(self, other: object, /) -> bool: ...
    def __repr__(self) -> str: ...

def controllers() -> list[tuple[str, str, str]]:
    """Names of the controllers, what may follow each, and what it does. `chain+NAME` looks up
    first.
    """

@final
class Controller:
    """Decides, step by step, how far one sequence drafts. One object per sequence.

    `spec`: a name as `speckv --controller` spells it: `off`, `fixed:4`, `confidence:0.4`,
    `heuristic`, `entropy:svip`, `entropy:adaedl`, `ema`, `expected-value`, `adaptive-verification`,
    `paper`, `speckv`, `chain+NAME`. `costs`: what time costs; copied, so that later changes do not
    reach the controller (`set_costs` does). `predictor`: weights of `speckv`; None is the prior.
    `temperature`: 0 is greedy. `compression`: bits that the target's compression took from 16 per
    weight, by 16: 0 for FP16, 0.5 for INT8, 0.75 for NF4. `gamma`: start or limit of the
    controller. `drafting`: which source it may use; None is what is natural for it.
    `paper_weights`: the paper's released `.npz`.

    A controller must see each position's distribution before it sees the next, and never decides by
    a drawn token: that keeps sampling lossless."""

    def __new__(
        cls,
        spec: str = "speckv",
        *,
        costs: CostModel | None = None,
        predictor: Predictor | None = None,
        temperature: float = 0.0,
        compression: float = 0.0,
        gamma: int | None = None,
        drafting: Literal["model", "ngram", "both"] | None = None,
        paper_weights: str | os.PathLike[str] | None = None,
    ) -> Controller: ...
    @property
    def name(self) -> str:
        """Its name with its parameters: `fixed-4`."""
    @property
    def steps(self) -> int:
        """Steps observed."""
    def plan(
        self,
        context: int,
        *,
        gamma_limit: int = ...,
        remaining: int | None = None,
        has_model: bool = False,
        parallel: int = 0,
        draft_behind: int = 0,
        lookup: Lookup | None = None,
        shared: SharedPass | None = None,
    ) -> Plan:
        """Begins a step on a sequence of `context` tokens.

        `gamma_limit`: most tokens that budget and context allow to draft (one less than the tokens
        that may still be produced); by default, and at most, MAX_GAMMA. `remaining`: tokens that
        the answer may still have, None where that is not known: a draft reads a long prompt only
        where enough of them are left. `has_model`: whether there is a draft model.
        `parallel`: most tokens that it can propose in one pass; 0 where it cannot. `draft_behind`:
        tokens that it would have to read first, beyond the one that every step feeds. `lookup`:
        what look-up offers. `shared`: the other sequences of the target's pass; None: there are
        none.

        Raises `OrderError` if a step is under way: `observe` or `abandon` ends it."""
    def read_ahead(self, limit: int | None = None) -> int:
        """Tokens that the draft model reads before it drafts in the step under way, at most
        `limit`.

        0 where it does not draft, or reads the few that it missed along with its first token. Where
        `limit` leaves some unread, the step drafts nothing and the next one reads on."""
    @property
    def wants_more(self) -> bool:
        """Whether the step under way takes one more drafted token from its source."""
    def judge(self, token: int, signals: Signals, *, ends: bool = False) -> Verdict:
        """Takes the next drafted token in, judged by its distribution alone. `ends`: the token ends
        the text, so nothing after it is drafted.

        Raises `OrderError` unless `wants_more`."""
    def exhausted(self) -> None:
        """The source has nothing more to say: `wants_more` becomes False."""
    @property
    def takes_forced(self) -> bool:
        """Whether tokens that a constraint forces go in without a draft; False for plain decoding."""
    def force(self, token: int) -> None:
        """Notes a token that a constraint forces where the step stands: before its first drafted
        token, or after the last one kept.

        Raises `OrderError` if no step is under way."""
    @property
    def kept(self) -> int:
        """Drafted tokens to verify, from the first on: all of them, or all but a dropped one."""
    @property
    def kept_tokens(self) -> list[int]: ...
    def observe(
        self,
        accepted: int,
        token: int | None,
        *,
        verified: int | None = None,
        forced_after: Sequence[int] = ...,
        forced_rows: int = 0,
        catch_up_seconds: float = 0.0,
        draft_seconds: float = 0.0,
        verify_seconds: float = 0.0,
        total_seconds: float | None = None,
    ) -> StepRecord:
        """Ends the step: `accepted` of the kept tokens were accepted, and `token` followed them
        (None where an accepted end token ended the text).

        `verified`: tokens that the target looked at, where it looked at fewer than were kept.
        `forced_after`: tokens that a constraint forces after `token`; the target reads them in its
        next pass. `forced_rows`: rows of this pass that read forced tokens. Seconds of 0 teach
        nothing about time, and times of a shared pass teach a controller nothing either.
        `total_seconds` is the sum of the others unless given.

        Raises `OrderError` if no step is under way, `ArgumentError` unless accepted <= verified <=
        kept."""
    def abandon(self) -> None:
        """Forgets the step under way, if there is one, as if it had not been planned; nothing is
        learned. For steps that failed.
        """
    def next_text(self) -> None:
        """The text was changed from outside: what was learned of models and machine stays, what was
        learned of the text goes.
        """
    def set_costs(self, costs: CostModel) -> None:
        """Decides by these costs (a copy of them) from the next step on. Controllers that ignore
        costs ignore this.
        """

# -------------------- costs

@final
class CostModel:
    """Seconds of whatever a step may do: `catch_up + n draft(c) + verify(k + 1, c)` for n drafted
    and k verified tokens at context c.

    Without arguments: a sane default before anything was measured (plain decoding 50 ms, a draft
    token 0.35 of it, each further row 0.12 of it)."""

    def __new__(cls) -> CostModel: ...
    @staticmethod
    def from_curve(
        verify_seconds: Sequence[float],
        draft_seconds: float | None = None,
        catch_up_seconds: float | None = None,
    ) -> CostModel:
        """Passes of 1, 2, 3, ... rows; one draft token; one missed token read by the draft. Rows
        beyond the curve go on with its slope.
        """
    @staticmethod
    def from_samples(
        verify: Sequence[tuple[int, int, float]],
        draft: Sequence[tuple[int, int, float]] = ...,
        catch_up: Sequence[tuple[int, int, float]] = ...,
        *,
        draft_passes: Sequence[tuple[int, int, float]] = ...,
    ) -> CostModel:
        """A fit to measurements, by medians: `verify` and `draft_passes` as (rows, context,
        seconds), the others as (tokens, context, seconds of all). `draft_passes`: passes of the
        draft model over several rows, signals included, as when several sequences draft together
        or one pass proposes several tokens.
        """
    @staticmethod
    def from_json(text: str) -> CostModel:
        """What `to_json` wrote, or a curve such as `{"verify_ms": [40, 41, 43], "draft_ms": 14,
        "catch_up_ms": 4}`.
        """
    def to_json(self) -> str: ...
    def copy(self) -> CostModel: ...
    def draft_seconds(self, context: int = 0) -> float: ...
    def verify_seconds(self, rows: int, context: int = 0) -> float:
        """t(rows): a target pass that returns logits of `rows` positions. Never falls with `rows`."""
    def plain_seconds(self, context: int = 0) -> float: ...
    def catch_up_seconds(self, tokens: int) -> float: ...
    def observe(self, record: StepRecord) -> None:
        """Learns from a step of a sequence that was alone in its pass."""
    def observe_pass(self, rows: int, context: int, seconds: float) -> None:
        """Learns from a pass over several sequences; beyond 17 rows nothing is learned: `PassCurve`
        has no such limit.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __repr__(self) -> str: ...

@final
class PassCurve:
    """t(n): seconds of a foreign engine's pass over n scheduled tokens, learned from whatever
    passes it makes, one to a hundred thousand tokens.

    Passes are sorted into classes of similar size (each size alone up to 16, then steps of an
    eighth); each class keeps the median of its last `window` passes, so that stalls and
    compilations do no harm. A class of fewer than 3 passes, or without one among the last 1000,
    counts for no more than the next one below says by the prior's shape, nor than the next one
    above: no size is given up for one slow pass, nor for good. Between classes the curve is
    straight, it never falls with n, and where nothing was measured it has the shape of `prior`.
    Deterministic: the same passes in the same order give the same curve."""

    def __new__(cls, prior: CostModel | None = None, *, window: int = 15) -> PassCurve: ...
    def observe(self, tokens: int, seconds: float) -> None:
        """One pass over `tokens` scheduled tokens. Anything that is not a positive number of
        seconds, and 0 tokens, are ignored.
        """
    def seconds(self, tokens: int) -> float:
        """t(tokens)."""
    @property
    def passes(self) -> int:
        """Passes observed."""
    def points(self) -> list[tuple[float, float, int]]:
        """The classes with passes: (mean tokens, seconds before they were made to rise, passes in
        the window).
        """
    def costs(self, base: CostModel | None = None) -> CostModel:
        """A cost model with this curve for verification at any number of rows, and everything else
        from `base` (by default the prior): give it to
        `Drafter.propose` or `Controller.set_costs`."""
    def to_json(self) -> str: ...
    @staticmethod
    def from_json(text: str) -> PassCurve:
        """For settings that must be the same in several processes."""
    def __repr__(self) -> str: ...

# -------------------- predictor

@final
class ModelShape:
    """What a model is recognised by: architecture as its file names it (`qwen2`), layers, width,
    vocabulary (padding included). Immutable.
    """

    def __new__(
        cls, architecture: str, layers: int, hidden: int, vocab_size: int
    ) -> ModelShape: ...
    @property
    def architecture(self) -> str: ...
    @property
    def layers(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __repr__(self) -> str: ...

@final
class Predictor:
    """Weights: signals -> probability that a draft token is accepted. Read-only."""

    @staticmethod
    def prior() -> Predictor:
        """A sane start without training."""
    @staticmethod
    def shipped(target: ModelShape, draft: ModelShape | None = None) -> Predictor | None:
        """The weights trained for this pair, if they come with this package; for a target alone,
        those for look-up.
        """
    @staticmethod
    def from_json(text: str) -> Predictor:
        """What `speckv train` or `to_json` wrote."""
    def to_json(self) -> str: ...
    @property
    def origin(self) -> str | None:
        """What the weights were trained on, in words."""
    @staticmethod
    def feature_names() -> list[str]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __repr__(self) -> str: ...

@final
class OnlinePredictor:
    """A predictor that corrects itself while a sequence is decoded: what `speckv` decides by, to
    look at it alone.
    """

    def __new__(
        cls,
        predictor: Predictor | None = None,
        *,
        temperature: float = 0.0,
        compression: float = 0.0,
    ) -> OnlinePredictor: ...
    def begin(self, source: Source, context: int) -> float:
        """Begins a step: the probability that its first token is accepted."""
    def push(self, signals: Signals) -> tuple[float, float]:
        """Takes a position in: the probabilities that it is accepted, given those before it, and
        that the one after it would be, given it.
        """
    def observe(self, record: StepRecord) -> None: ...
    def next_text(self) -> None: ...

# -------------------- drafting

@final
class Tokenizer:
    """A model's tokenizer."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def end_tokens(self) -> list[int]: ...
    def encode(
        self, text: str, *, parse_special: bool = True, add_special: bool = True
    ) -> list[int]: ...
    def decode(self, tokens: Tokens, *, skip_special: bool = True) -> str: ...
    def constraint(
        self,
        *,
        json_schema: str | None = None,
        grammar: str | None = None,
        regex: str | None = None,
        choices: Sequence[str] | None = None,
    ) -> Constraint:
        """What an answer may be: JSON that fits a schema (as text), a grammar in GBNF or Lark, a
        regular expression, or one of these texts. Exactly one of them.
        """

@final
class Constraint:
    """Which tokens may follow, at one place in an answer."""

    def advance(self, token: int) -> None:
        """Reads a token, which must be allowed."""
    def rollback(self, count: int) -> None:
        """Forgets the last tokens."""
    def is_allowed(self, token: int) -> bool: ...
    def forced(self) -> int | None:
        """The one token that may follow, where the grammar leaves one text."""
    def allowed(self) -> NDArray[np.bool_]:
        """Whether each token of the vocabulary may follow, `[vocab]`."""

@final
class Cache:
    """What a model has read of one sequence. Belongs to the model that made it."""

    def __len__(self) -> int:
        """Positions held."""
    def truncate(self, length: int) -> None:
        """Forgets every position from `length` on."""

@final
class LocalModel:
    """A model on this machine: a GGUF file or a Hugging Face folder. Read-only and shared; what
    belongs to a sequence is in its `Cache`.
    """

    @staticmethod
    def load(
        model: str | os.PathLike[str],
        *,
        compression: str = "asis",
        context: int | None = None,
        threads: int | None = None,
        kv_type: Literal["f16", "q8_0"] = "f16",
        draft_head: int | None = None,
        device: str = "cpu",
    ) -> LocalModel:
        """Loads weights. `model`: a path, or a name of the catalogue, which is pulled on first use.
        `compression`: `asis`, `fp16`, `int8`, `nf4`, `compact` (what `speckv run` gives to drafts),
        or a type such as `q4_0`. `context`: most tokens of a sequence; None is what the model was
        made for, at most 4096. `threads`: None is one per core. `draft_head`: the output head
        covers so many tokens while the text uses no others; None is all. `device`: `cpu`, `gpu`
        (the first; a software adapter, with a warning, where there is no other), `gpu:N` as `speckv
        devices` numbers them, or `auto`: the one whose plain pass is faster, measured once.

        Raises `ModelError` with what is wrong with the file or the device."""
    @property
    def vocab_size(self) -> int: ...
    @property
    def context_length(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def device(self) -> str:
        """Where it is: `cpu` or `gpu:N`."""
    @property
    def compression(self) -> str: ...
    @property
    def shape(self) -> ModelShape: ...
    @property
    def path(self) -> str: ...
    def tokenizer(self) -> Tokenizer: ...
    def cache(self) -> Cache:
        """A cache that holds nothing yet."""
    def prefill(self, cache: Cache, tokens: Tokens) -> None:
        """Reads tokens, 128 per pass, without logits."""
    def forward(self, feeds: Sequence[tuple[Cache, Tokens, int]]) -> NDArray[np.float32]:
        """One pass over several sequences: appends each feed's tokens to its cache and returns the
        logits of each feed's last `rows` (its third element) positions, in the order of the feeds,
        `[sum of rows, vocab]`. A row's values do not
        depend on what else is in the pass."""
    def step(self, feeds: Sequence[tuple[Cache, Tokens]]) -> list[tuple[int, Signals]]:
        """A drafting round: reads each feed's tokens and returns the likeliest next token of each
        with its signals. Less copying than `forward`.
        """

@final
class NgramText:
    """Look-up in one text: what followed the longest suffix of the text at its latest earlier
    occurrence. Its time does not grow with the text.
    """

    def __new__(
        cls,
        tokens: Tokens | None = None,
        *,
        min_match: int = 2,
        max_match: int = 8,
    ) -> NgramText: ...
    def __len__(self) -> int: ...
    def extend(self, tokens: Tokens) -> None: ...
    def truncate(self, length: int) -> None: ...
    def lookup(self) -> Lookup | None:
        """What it could offer, for `Controller.plan`."""
    def propose(self, drafted: Tokens | None = None) -> tuple[int, Signals] | None:
        """The next token after the text and the tokens drafted in this step, which stay out of the
        text; None where nothing matches.
        """

@final
class Drafter:
    """Drafts for many sequences: by n-gram look-up (`lookup`), by `model`, or by both, and then
    each sequence's controller chooses per step.

    Greedy: it proposes the likeliest tokens and hands out no draft probabilities. An engine that
    samples accepts such a token with its own probability of it (a draft that is certain), which is
    lossless. A model with mask tokens (a parallel draft) proposes several tokens in one pass where
    the controller chooses that. `target_vocab_size`: tokens outside it are never proposed."""

    def __new__(
        cls,
        model: LocalModel | None = None,
        *,
        lookup: bool = True,
        min_match: int = 2,
        max_match: int = 8,
        target_vocab_size: int | None = None,
    ) -> Drafter: ...
    @property
    def has_model(self) -> bool: ...
    @property
    def parallel(self) -> int:
        """Most tokens that one pass of the model proposes for a sequence; 0 for a model that
        proposes one per pass.
        """
    @property
    def open_sequences(self) -> int:
        """Sequences that were opened and not closed."""
    @property
    def draft_failures(self) -> int:
        """Sequences for which drafting ended since the draft model failed, by logits with NaN for
        example. `propose` then gives a RuntimeWarning and no tokens for them.
        """
    def open(
        self,
        controller: Controller,
        tokens: Tokens | None = None,
        *,
        end_tokens: Sequence[int] = ...,
    ) -> DraftSequence:
        """A new sequence with its controller, which may serve no other sequence. The draft model's
        state takes memory until `DraftSequence.close`.
        """
    def propose(
        self,
        sequences: Sequence[DraftSequence],
        gamma_limits: int | Sequence[int] | None = None,
        *,
        costs: CostModel | None = None,
        rows: int | None = None,
        waiting: int | None = None,
        read_limit: int | None = None,
    ) -> list[list[int]]:
        """Plans and drafts the next step of each sequence, one pass of the draft model per round
        for all that still draft. Returns the tokens to verify, one list per sequence; an empty one
        is plain decoding. Each sequence then awaits `observe` (or `abandon`).

        `gamma_limits`: most tokens to draft, for all or each; None is MAX_GAMMA. `costs`: replaces
        the costs of every controller in `sequences` before it plans (a copy). `rows`: rows of the
        target's coming pass whatever is drafted here; by default one per sequence. `waiting`:
        sequences that wait for that pass; by default these. With those two a controller sees the
        load and drafts less under it. `read_limit`: most tokens that the draft model reads in this
        call to catch up, over all sequences, at least LEAST_DRAFT_READING; a sequence that is not
        caught up then has no draft in this step and reads on in the next. None has no limit.

        A sequence with an earlier step still under way abandons it. Nothing is proposed for an
        empty text. On an error no sequence has a step under way."""
    @property
    def work(self) -> DraftWork:
        """What the last `propose` took, and who did it."""

@final
class DraftWork:
    """Seconds and tokens of a `Drafter.propose`, the model's apart from look-up's."""

    @property
    def catch_up_seconds(self) -> float:
        """Seconds of reading what the model had missed."""
    @property
    def catch_up_tokens(self) -> int:
        """Tokens read in them. Up to four per sequence are read in its first drafting pass instead
        and do not count.
        """
    @property
    def model_seconds(self) -> float:
        """Seconds of the model's drafting passes."""
    @property
    def model_tokens(self) -> int:
        """Tokens that the model drafted, dropped ones included."""
    @property
    def model_passes(self) -> int:
        """Its passes; `model_tokens / model_passes` sequences were in one."""
    @property
    def lookup_seconds(self) -> float:
        """Seconds of proposing by look-up."""
    @property
    def lookup_tokens(self) -> int:
        """Tokens proposed by look-up."""
    @property
    def controller_seconds(self) -> float:
        """Seconds of the controllers' decisions."""

@final
class DraftSequence:
    """One text in a `Drafter`, with its controller: made by `Drafter.open`. The text holds
    committed tokens only, never drafted ones.
    """

    @property
    def controller(self) -> Controller: ...
    def __len__(self) -> int:
        """Tokens in the text."""
    def tokens(self) -> NDArray[np.uint32]:
        """A copy of the text."""
    def extend(self, tokens: Tokens) -> None:
        """Appends tokens that came from outside. Abandons a step under way."""
    def sync(self, tokens: Tokens) -> int:
        """Makes `tokens` the text, keeping what was read of the common beginning; returns its
        length. Does nothing, and keeps a step under way, where the text is the same already. For
        engines whose own token array is the truth (preemption, speculative
        tokens taken back)."""
    @property
    def under_way(self) -> bool:
        """Whether a step was proposed and not observed yet."""
    @property
    def proposed(self) -> list[int]:
        """Tokens to verify in the step under way."""
    def observe(
        self,
        accepted: int,
        token: int | None,
        *,
        verified: int | None = None,
        verify_seconds: float = 0.0,
        draft_times: bool = False,
    ) -> StepRecord:
        """Ends the step and appends `proposed[:accepted]` and `token` to the text. `verify_seconds`
        above 0 teaches the controller's costs (only a sequence alone in its pass); `draft_times`
        puts the seconds that drafting took on this machine's clock into the record. Leave both
        alone where several
        processes must agree. The rest is as in `Controller.observe`."""
    def abandon(self) -> None:
        """Forgets the step under way; the text stays."""
    def close(self) -> None:
        """Gives the place and the memory of its state back, like the end of a `with` block. Does
        nothing if it is closed. Everything else then raises
        `OrderError`."""
    def __enter__(self) -> DraftSequence: ...
    def __exit__(self, *exception: object) -> None: ...

# -------------------- laboratory

@final
class Trace:
    """One greedy output of a target with everything that could have been drafted for it."""

    @staticmethod
    def synthetic(
        tokens: int, level: float = 1.5, *, lookup: tuple[float, float] = ..., seed: int = 0
    ) -> Trace:
        """A trace without models: acceptance as a random process around sigmoid(`level`), the
        draft's confidence calibrated; `lookup`: probabilities (default 0) that
        look-up finds something, and that it agrees."""
    @property
    def prompt_id(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def tokens(self) -> list[int]: ...
    @property
    def end_tokens(self) -> list[int]: ...
    @property
    def has_model(self) -> bool:
        """Whether a draft model proposed anything in it."""
    def lookup(self, position: int) -> Lookup | None:
        """What look-up offered before output token `position`."""
    def proposal(self, position: int, source: Source) -> tuple[list[tuple[int, Signals]], int]:
        """What a source proposed before output token `position`, and how many of those tokens the
        text continues with.
        """
    def __len__(self) -> int: ...

@final
class TraceFolder:
    """Traces that `speckv profile --trace DIR` recorded."""

    def __new__(
        cls, path: str | os.PathLike[str], *, split: Literal["train", "test", "all"] = "all"
    ) -> TraceFolder: ...
    @property
    def settings(self) -> dict[str, Any]:
        """What decides the traces: models, depths, limits."""
    @property
    def costs(self) -> CostModel | None:
        """Costs of the pair, measured when it was recorded."""
    @property
    def gamma_max(self) -> int: ...
    @property
    def compression(self) -> float: ...
    def predictor(self) -> Predictor:
        """The shipped weights for the pair, or the prior."""
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Trace: ...
    def __iter__(self) -> Iterator[Trace]: ...
    def compare(
        self,
        specs: Sequence[str],
        *,
        costs: CostModel | None = None,
        predictor: Predictor | None = None,
    ) -> list[dict[str, Any]]:
        """Controllers side by side: the `groups` of `speckv replay --json`. Steps and acceptance
        are exact, times are modelled.
        """

def replay(
    controller: Controller, trace: Trace, costs: CostModel | None = None
) -> list[StepRecord]:
    """The very steps that a fresh controller would take live with these costs. The seconds of the
    records are modelled.
    """

@final
class Randomness:
    """Uniform numbers from a seed (ChaCha8): the same on every machine and in every version."""

    def __new__(cls, seed: int) -> Randomness: ...
    def uniform(self) -> float:
        """The next one, in [0, 1)."""

@final
class Distribution:
    """Probabilities of tokens, as a sampler makes them. Immutable."""

    @staticmethod
    def certain(token: int) -> Distribution:
        """Of a draft that draws nothing: n-gram look-up, or a greedy draft."""
    def probability(self, token: int) -> float: ...
    def draw(self, u: float) -> int:
        """The token at which the cumulative probability, in the order of tokens, first exceeds u,
        in [0, 1).
        """
    def items(self) -> list[tuple[int, float]]:
        """Tokens, ascending, with their probabilities; those without probability may be missing."""
    def __repr__(self) -> str: ...

@final
class Sampler:
    """How tokens are chosen from logits: repetition penalty, temperature, top-k, top-p, min-p, in
    this order. Draft and target go through the same one.
    """

    def __new__(
        cls,
        temperature: float = 0.0,
        *,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        repetition_window: int = 64,
    ) -> Sampler: ...
    @property
    def is_greedy(self) -> bool: ...
    @property
    def temperature(self) -> float: ...
    @property
    def has_penalty(self) -> bool:
        """Whether it looks at the tokens before."""
    def distribution(self, logits: NDArray[np.float32], context: Tokens) -> Distribution:
        """What the settings make of `logits` (`[vocab]`, copied) after `context`, every token
        before the position.
        """

def verify(
    drafted: int, p: Distribution, q: Distribution, u_accept: float, u_draw: float
) -> tuple[bool, int]:
    """Whether `drafted`, drawn from q, is kept, and the token that stands there: `drafted`, or one
    drawn from (p - q)+. So the token has distribution p
    (Leviathan et al. 2023). Both numbers are independent and uniform in [0, 1)."""

def block_order(seed: int, compression: str, prompt_id: str, gammas: int) -> list[int]:
    """The order in which `speckv profile --grid` measures the gammas on a prompt, as places in
    their list.
    """

@final
class StepGrid:
    """A folder of step records as `speckv profile --grid` writes it (docs/reference/steps.md);
    `speckv report --grid` reads it.

    `settings`: a dict with the keys of `settings` in its run.json: target and draft as {name,
    sha256, bytes, shape{architecture, layers, hidden, vocab_size},
    compression}, draft_compression, draft_head, gammas, max_tokens, threads, seed. A folder that
    was begun with the same settings goes on; others are refused."""

    def __new__(
        cls,
        path: str | os.PathLike[str],
        settings: dict[str, Any],
        *,
        command: Sequence[str] = ...,
        machine: str | None = None,
    ) -> StepGrid: ...
    def holds(self, compression: str, prompt_id: str, prompt: Tokens) -> bool:
        """Whether this prompt was recorded whole under this compression."""
    def save(
        self,
        compression: str,
        prompt_id: str,
        prompt: Tokens,
        *,
        task: str,
        split: Literal["train", "test"],
        temperature: float,
        answers: Sequence[tuple[int, int, Sequence[StepRecord], Sequence[Sequence[str]]]],
    ) -> None:
        """Writes one part: per gamma, in the order of the settings, (gamma, its place in the order
        of measuring, its steps, the pieces of text of
        each step's tokens)."""
    def assemble(self) -> int:
        """Puts steps.csv and steps.parquet together from all parts; returns the number of rows."""

def judge_evaluation(evaluation: dict[str, Any], baseline: str) -> str:
    """The text of an `evaluation.json` as `speckv evaluate` writes and reads it, with its verdicts
    against `baseline` (paired by prompt: bootstrap intervals, Wilcoxon's signed ranks with Holm's
    adjustment, sign flips). `evaluation` has the keys of such a file apart from format, version and
    verdicts: command, conditions, split, rounds, seed, stopped, mismatches, prompts [{id, task}],
    sides [{name, cells [{tokens,
    seconds}], gamma_histogram}]."""
