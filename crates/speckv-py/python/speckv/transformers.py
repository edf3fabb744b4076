"""Speculative generation for any pair of `AutoModelForCausalLM`, with a SpecKV controller deciding
per token.

    from speckv.transformers import generate

    result = generate(target, draft, prompt_ids, controller="speckv", costs=measure_costs(target,
    draft, prompt_ids), max_new_tokens=200) print(tokenizer.decode(result.tokens),
    result.acceptance_length)

The models' caches are cropped, never recomputed: rejection is `DynamicCache.crop`. Greedy decoding
gives the tokens of `target.generate(do_sample=False)`, sampling draws from the target's own
distribution (Leviathan et al. 2023), both whatever the draft and the controller do.

How exact greedy is: a pass over several tokens and a pass over one go through different matrix
kernels in PyTorch, whose results differ in the last bits. Where the two likeliest tokens are nearer
to each other than that, either may come out, as it may with any two batch sizes. In float32 that is
rare; in half precision it happens. (`speckv run` computes every row alike and has no such places.)
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._native import (
    Controller,
    CostModel,
    Distribution,
    NgramText,
    Plan,
    Predictor,
    Randomness,
    Sampler,
    Signals,
    Source,
    StepRecord,
    read_signals,
    verify,
)
from .errors import ArgumentError, ModelError

if TYPE_CHECKING:
    import torch

__all__ = ["Generation", "Speculation", "generate", "measure_costs"]


def _torch() -> Any:
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"speckv.transformers needs torch and transformers: {error}",
            "pip install 'speckv[transformers]'",
        ) from error
    return torch


class _Reader:
    """A model and what it has read of one text: a prefix of it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.forget()
        self.vocab_size = int(model.config.get_text_config().vocab_size)
        parameters = inspect.signature(model.forward).parameters
        self.keeps = "logits_to_keep" if "logits_to_keep" in parameters else None
        self.most = int(getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30))

    def forget(self) -> None:
        """Back to a model that has read nothing."""
        from transformers import DynamicCache

        # Without the model's config every layer keeps all positions, so that a crop is always
        # possible; sliding windows are then masks.
        self.cache = DynamicCache()
        self.length = 0

    def read(self, tokens: Sequence[int], rows: int) -> torch.Tensor:
        """Appends tokens; logits of the last `rows` positions, `[rows, vocab]`, on the model's
        device. A pass that is broken off (memory, Ctrl-C) may have lengthened some layers and not
        others: the cache is dropped, and the next pass reads the text again."""
        library = _torch()
        ids = library.tensor([list(tokens)], dtype=library.long, device=self.model.device)
        options: dict[str, Any] = {}
        if self.keeps is not None:
            options[self.keeps] = max(rows, 1)
        try:
            with library.inference_mode():
                out = self.model(
                    input_ids=ids, past_key_values=self.cache, use_cache=True, **options
                )
            self.cache = out.past_key_values
            self.length += len(tokens)
        except BaseException:
            self.forget()
            raise
        logits: torch.Tensor = out.logits[0]
        return logits[logits.shape[0] - rows :]

    def truncate(self, length: int) -> None:
        if length >= self.length:
            return
        try:
            self.cache.crop(
                length - self.length
            )  # below 0: so many tokens from the end, in every version of the library
            self.length = length
        except BaseException:
            self.forget()
            raise


def _on_cpu(logits: torch.Tensor) -> NDArray[np.float32]:
    """The values as NumPy sees them; shared with the tensor where it is float32 on the CPU
    already."""
    values: NDArray[np.float32] = logits.float().cpu().contiguous().numpy()
    return values


def _finish(model: Any) -> None:
    """Waits until the device has done what was asked, so that a clock read after it means
    something.
    """
    if model.device.type == "cuda":
        _torch().cuda.synchronize(model.device)


@dataclass(frozen=True)
class Generation:
    """What came of a prompt."""

    tokens: list[int]
    """Tokens after the prompt, an end token included."""
    records: list[StepRecord] = field(repr=False)
    """Every step."""
    finish_reason: str
    """`stop` (the model said an end token) or `length`."""
    prefill_seconds: float
    """Seconds of reading the prompt, draft included."""

    @property
    def seconds(self) -> float:
        """Seconds of all steps, prompt not included."""
        return sum(record.total_seconds for record in self.records)

    @property
    def drafted(self) -> int:
        return sum(len(record.drafted) for record in self.records)

    @property
    def accepted(self) -> int:
        return sum(record.accepted for record in self.records)

    @property
    def acceptance_rate(self) -> float | None:
        """Accepted by drafted; None where nothing was drafted."""
        return self.accepted / self.drafted if self.drafted else None

    @property
    def acceptance_length(self) -> float:
        """Tokens per step."""
        return len(self.tokens) / max(len(self.records), 1)


def _likeliest(rows: torch.Tensor) -> list[int]:
    """The likeliest token of each row. A row of which no token can be made is refused: `argmax`
    alone would take the first NaN.
    """
    largest, tokens = rows.max(dim=-1)  # NaN if there is one in the row
    if not bool(largest.isfinite().all()):
        row = largest.isfinite().tolist().index(False)
        raise ArgumentError(
            f"row {row} of the target's logits makes no token: its largest value is {largest[row].item()}",
            "the model's weights or its precision are broken",
        )
    return [int(token) for token in tokens.tolist()]


class Speculation:
    """One text in the making: target, draft, their caches, and a controller. `step` makes at least
    one token.

    `draft=None` drafts by look-up of earlier text; with a draft, `lookup=True` lets controllers
    such as `speckv` and `chain+NAME` use both. The draft must have the target's vocabulary; sizes
    may differ by padding.
    """

    def __init__(self, target: Any, draft: Any | None = None, *, lookup: bool = True) -> None:
        _torch()
        self.target = _Reader(target)
        self.draft = None if draft is None else _Reader(draft)
        self.vocab_size = min(
            reader.vocab_size for reader in (self.target, self.draft) if reader is not None
        )
        self.uses_lookup = lookup
        self.ngram: NgramText | None = None
        self.tokens: list[int] = []
        self.prompt_length = 0
        self.max_new_tokens = 0
        self.finish_reason: str | None = None
        self.prefill_seconds = 0.0
        self.controller = Controller("off")
        self.sampler = Sampler()
        self.end_tokens: frozenset[int] = frozenset()
        self.randomness = Randomness(0)
        self.broken_drafts = 0
        """Times that the draft's logits made no token. Drafting ended there, the text did not."""

    def start(
        self,
        prompt: Sequence[int],
        controller: Controller,
        *,
        max_new_tokens: int,
        sampler: Sampler | None = None,
        end_tokens: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        """Reads a prompt, keeping what was read of a common beginning, with a fresh controller."""
        prompt = [int(token) for token in prompt]
        if not prompt:
            raise ArgumentError(
                "expected at least one token of prompt, got none",
                "a tokenizer adds a first token: add_special_tokens=True",
            )
        if len(prompt) + 1 > self.target.most:
            raise ArgumentError(
                f"the prompt has {len(prompt)} tokens, the model's context {self.target.most}",
                "shorten the prompt",
            )
        common = 0
        for old, new in zip(self.tokens, prompt, strict=False):
            if old != new:
                break
            common += 1
        self._forget(
            min(common, len(prompt) - 1)
        )  # first, so that the caches never hold more than what the text says
        self.tokens = prompt
        self.prompt_length = len(prompt)
        self.ngram = NgramText(self.tokens) if self.uses_lookup else None
        self.max_new_tokens = max_new_tokens
        self.controller = controller
        self.sampler = sampler or Sampler()
        self.end_tokens = frozenset(end_tokens)
        self.randomness = Randomness(seed)
        self.finish_reason = None if self._room() > 0 else "length"
        began = time.perf_counter()
        for reader in (self.target, self.draft):
            if reader is not None and reader.length < len(prompt) - 1:
                reader.read(prompt[reader.length : -1], 0)
                _finish(reader.model)
        self.prefill_seconds = time.perf_counter() - began

    def rewind(self, controller: Controller, *, max_new_tokens: int | None = None) -> None:
        """Back to the prompt, with another controller and the same caches."""
        self._forget(self.prompt_length - 1)
        del self.tokens[self.prompt_length :]
        if max_new_tokens is not None:
            self.max_new_tokens = max_new_tokens
        self.ngram = NgramText(self.tokens) if self.uses_lookup else None
        self.controller = controller
        self.finish_reason = None if self._room() > 0 else "length"

    def _forget(self, length: int) -> None:
        for reader in (self.target, self.draft):
            if reader is not None:
                reader.truncate(length)

    def _room(self) -> int:
        """Tokens that budget and context still allow."""
        return min(
            self.max_new_tokens - (len(self.tokens) - self.prompt_length),
            self.target.most - len(self.tokens),
        )

    def steps(self) -> Iterator[StepRecord]:
        """Steps until the text ends."""
        while self.finish_reason is None:
            yield self.step()

    def step(self) -> StepRecord:
        """Decide, draft, verify, accept, commit, observe."""
        if self.finish_reason is not None:
            raise ArgumentError(
                f"the text has ended: {self.finish_reason}", "start() or rewind() begins another"
            )
        began = time.perf_counter()
        committed = len(self.tokens)
        try:
            plan = self._plan()
            catch_up_seconds = self._catch_up()
            drafting = time.perf_counter()
            q = self._draft(plan)
            draft_seconds = time.perf_counter() - drafting
            kept = self.controller.kept_tokens
            verifying = time.perf_counter()
            rows = self.target.read(
                self.tokens[self.target.length : committed] + kept, len(kept) + 1
            )
            likeliest, logits = self._look(rows)
            verify_seconds = time.perf_counter() - verifying
            accepted, token = self._accept(kept, q, likeliest, logits)
            added = kept[:accepted] + ([] if token is None else [token])
            self._forget(committed + len(added) - 1)
            self.tokens[committed:] = added
        except BaseException:
            self.controller.abandon()
            del self.tokens[committed:]
            self._forget(committed - 1)
            raise
        if self.ngram is not None:
            self.ngram.extend(added)
        if self.tokens[-1] in self.end_tokens:
            self.finish_reason = "stop"
        elif self._room() <= 0:
            self.finish_reason = "length"
        return self.controller.observe(
            accepted,
            token,
            catch_up_seconds=catch_up_seconds,
            draft_seconds=draft_seconds,
            verify_seconds=verify_seconds,
            total_seconds=time.perf_counter() - began,
        )

    def _plan(self) -> Plan:
        context = len(self.tokens)
        behind = 0 if self.draft is None else max(context - 1 - self.draft.length, 0)
        limit = self._room() - 1
        if self.draft is not None:
            limit = min(limit, max(self.draft.most - context, 0))
        lookup = self.ngram.lookup() if self.ngram is not None and limit > 0 else None
        return self.controller.plan(
            context,
            gamma_limit=limit,
            remaining=self._room(),
            has_model=self.draft is not None,
            draft_behind=behind,
            lookup=lookup,
        )

    def _catch_up(self) -> float:
        if self.controller.read_ahead() == 0 or self.draft is None:
            return 0.0
        began = time.perf_counter()
        self.draft.read(self.tokens[self.draft.length : -1], 0)
        _finish(self.draft.model)
        return time.perf_counter() - began

    def _draft(self, plan: Plan) -> list[Distribution]:
        """Drafts into `tokens` until the controller, or the source, has enough; q of each token
        where sampling needs it.
        """
        q: list[Distribution] = []
        drafted: list[int] = []
        while self.controller.wants_more:
            proposal = (
                self._propose_by_model()
                if plan.source == Source.MODEL
                else self._propose_by_lookup(drafted)
            )
            if proposal is None:
                self.controller.exhausted()
                break
            token, signals, distribution = proposal
            kept = self.controller.kept
            self.controller.judge(token, signals, ends=token in self.end_tokens)
            if self.controller.kept == kept:
                break
            drafted.append(token)
            self.tokens.append(token)
            q.append(distribution)
        return q

    def _propose_by_model(self) -> tuple[int, Signals, Distribution] | None:
        draft = self.draft
        if draft is None:
            return None
        unread = self.tokens[draft.length :]
        if any(token >= draft.vocab_size for token in unread) or len(self.tokens) > draft.most:
            return None
        logits = _on_cpu(draft.read(unread, 1)[0, : self.vocab_size])
        try:
            token, signals = read_signals(logits)
        except ArgumentError as error:
            self.broken_drafts += 1
            warnings.warn(
                f"the draft model proposes nothing here: {error}", RuntimeWarning, stacklevel=4
            )
            return None
        if self.sampler.is_greedy and not self.sampler.has_penalty:
            return token, signals, Distribution.certain(token)
        distribution = self.sampler.distribution(logits, self.tokens)
        return distribution.draw(self.randomness.uniform()), signals, distribution

    def _propose_by_lookup(self, drafted: list[int]) -> tuple[int, Signals, Distribution] | None:
        found = None if self.ngram is None else self.ngram.propose(drafted)
        if found is None:
            return None
        token, signals = found
        return token, signals, Distribution.certain(token)

    def _look(self, rows: torch.Tensor) -> tuple[list[int] | None, NDArray[np.float32] | None]:
        """What acceptance needs of the target's logits: the likeliest tokens where that is all,
        else the logits. Waits for the device.
        """
        if self.sampler.is_greedy and not self.sampler.has_penalty:
            return _likeliest(rows), None
        return None, _on_cpu(rows)

    def _accept(
        self,
        kept: list[int],
        q: list[Distribution],
        likeliest: list[int] | None,
        logits: NDArray[np.float32] | None,
    ) -> tuple[int, int | None]:
        """How many of the kept tokens stay, and the token after them; None where an accepted end
        token ended the text.
        """
        committed = len(self.tokens) - len(kept)
        for position, drafted in enumerate(kept):
            if likeliest is not None:
                stays, token = likeliest[position] == drafted, likeliest[position]
            else:
                p = self._distribution(logits, position, committed)
                stays, token = verify(
                    drafted, p, q[position], self.randomness.uniform(), self.randomness.uniform()
                )
            if not stays:
                return position, token
            if drafted in self.end_tokens:
                return position + 1, None
        if likeliest is not None:
            return len(kept), likeliest[len(kept)]
        p = self._distribution(logits, len(kept), committed)
        return len(kept), p.draw(self.randomness.uniform())

    def _distribution(
        self, logits: NDArray[np.float32] | None, position: int, committed: int
    ) -> Distribution:
        assert logits is not None
        return self.sampler.distribution(logits[position], self.tokens[: committed + position])


def _end_tokens(model: Any) -> list[int]:
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    if ends is None:
        return []
    return [int(ends)] if isinstance(ends, int) else [int(token) for token in ends]


def _ids(prompt: Any) -> list[int]:
    """Token ids of a list, an array, a tensor `[tokens]` or `[1, tokens]`, or what a tokenizer
    returned.
    """
    if hasattr(prompt, "keys") and "input_ids" in prompt:
        prompt = prompt["input_ids"]
    if hasattr(prompt, "tolist"):
        prompt = prompt.tolist()
    if prompt and isinstance(prompt[0], list):
        if len(prompt) != 1:
            raise ArgumentError(
                f"expected one prompt, got {len(prompt)}",
                "call generate() for each: every text has its own controller",
            )
        prompt = prompt[0]
    return [int(token) for token in prompt]


def generate(
    target: Any,
    draft: Any | None,
    prompt: Any,
    *,
    controller: str | Controller = "speckv",
    max_new_tokens: int = 128,
    costs: CostModel | None = None,
    predictor: Predictor | None = None,
    compression: float = 0.0,
    sampler: Sampler | None = None,
    seed: int = 0,
    end_tokens: Sequence[int] | None = None,
    lookup: bool = True,
    on_step: Callable[[StepRecord], None] | None = None,
) -> Generation:
    """Continues a prompt (ids as a list, array or tensor, or what a tokenizer returned).

    `controller`: a name, or a fresh `Controller`, for which `costs`, `predictor` and `compression`
    are then its own affair. `costs`: see `measure_costs`; without them the controllers that decide
    by time begin with a guess and learn. `sampler`: None is greedy. `end_tokens`: None takes those
    of the target's
    generation config. `on_step` is called after each step, for streaming."""
    if isinstance(controller, str):
        temperature = 0.0 if sampler is None else sampler.temperature
        controller = Controller(
            controller,
            costs=costs,
            predictor=predictor,
            temperature=temperature,
            compression=compression,
        )
    text = Speculation(target, draft, lookup=lookup)
    ends = _end_tokens(target) if end_tokens is None else end_tokens
    text.start(
        _ids(prompt),
        controller,
        max_new_tokens=max_new_tokens,
        sampler=sampler,
        end_tokens=ends,
        seed=seed,
    )
    records = []
    for record in text.steps():
        records.append(record)
        if on_step is not None:
            on_step(record)
    return Generation(
        tokens=text.tokens[text.prompt_length :],
        records=records,
        finish_reason=text.finish_reason or "length",
        prefill_seconds=text.prefill_seconds,
    )


def measure_costs(
    target: Any,
    draft: Any | None,
    prompt: Any,
    *,
    rows: Sequence[int] = (1, 2, 3, 5, 9, 17),
    draft_tokens: int = 8,
    repeats: int = 5,
) -> CostModel:
    """Measures what this pair costs here, in place: passes of the target over `rows` tokens, draft
    tokens one by one, the draft reading eight at once.

    Takes `repeats` rounds after one that is thrown away (kernels are compiled and chosen in it);
    rounds go through all sizes, so that a drift of the machine
    hits them alike. Logits are fetched as generation fetches them. The prompt is as long as the
    texts that will be generated, or the cost of context is unknown."""
    ids = _ids(prompt)
    if len(ids) < 2:
        raise ArgumentError(
            f"expected a prompt of at least 2 tokens, got {len(ids)}", "give a typical prompt"
        )
    context = len(ids)
    passes: list[tuple[int, int, float]] = []
    drafts: list[tuple[int, int, float]] = []
    readings: list[tuple[int, int, float]] = []
    readers = [_Reader(model) for model in (target, draft) if model is not None]
    for reader in readers:
        reader.read(ids[:-1], 0)
    for turn in range(repeats + 1):
        for count in rows:
            began = time.perf_counter()
            readers[0].read([ids[-1]] * count, count).argmax(dim=-1).tolist()
            if turn > 0:
                passes.append((count, context, time.perf_counter() - began))
            readers[0].truncate(context - 1)
        for reader in readers[1:]:
            began = time.perf_counter()
            for _ in range(draft_tokens):
                read_signals(_on_cpu(reader.read([ids[-1]], 1)[0]))
            if turn > 0:
                drafts.append((draft_tokens, context, time.perf_counter() - began))
            reader.truncate(context - 1)
            began = time.perf_counter()
            reader.read([ids[-1]] * 8, 0)
            _finish(reader.model)
            if turn > 0:
                readings.append((8, context, time.perf_counter() - began))
            reader.truncate(context - 1)
    return CostModel.from_samples(passes, drafts, readings)
