"""SpecKV inside vLLM: drafts from this machine's CPU, as long as they pay.

    vllm serve MODEL --speculative-config '{"method": "custom_class", "model":
    "speckv.vllm.Proposer", "num_speculative_tokens": 8}' \
                     --additional-config '{"speckv": {"draft": "ngram"}}'

`num_speculative_tokens` is the cap; below it every request gets its own number of draft tokens in
every step, 0 included. What can be set under `"speckv"` is in `Settings`. What a pass costs is
learned from the time between two calls, by the number of tokens that vLLM scheduled in between.
docs/guides/from-one-machine-to-a-cluster.md says how to use it on several machines.

**Tensor parallelism.** Every rank of a tensor-parallel group calls `propose` with the same batch in the same step. Only the group's first rank decides;
the others wait for its drafts, which it broadcasts over the group's CPU channel, and return those.
So all ranks propose the same by construction, although the first one decides by its own clock, and
a draft model is in memory once per group.

**Failure.** A proposer must not take the server down: what it does is optional. Settings that cannot work raise when vLLM starts. A request whose draft
fails is logged with its traceback and decodes plainly from then on; the others go on. An error that
no request can be blamed for drops what is known of all of them, and they begin anew. Only after
`MOST_FAILURES` of either is drafting off until the next start.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import (
    ArgumentError,
    Controller,
    CpuModel,
    Drafter,
    Error,
    FileError,
    ModelShape,
    PassCurve,
    Predictor,
)
from ._native import LEAST_DRAFT_READING, MAX_GAMMA
from ._vllm_drafts import Draft, Drafts
from ._vllm_rows import Request, Row, match_rows, outcome

log = logging.getLogger("vllm.speckv")

PROBE = "def f(x):\n    return [x, 1234]  # Größe, naïve, 日本語, привет\nThe quick brown fox said: 'It's 5 o'clock!'\n"
"""Draft and target must cut this into the same tokens."""

MOST_FAILURES = 20
"""After so many errors drafting is off: an error of the draft affects all requests."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What `--additional-config '{"speckv": {...}}'` may say."""

    draft: str = "ngram"
    """`ngram`, or a draft model for the CPU: a GGUF file, a Hugging Face folder, or a name of
    `speckv models`. With a model, `lookup` adds look-up.
    """
    lookup: bool = True
    """Whether a draft model has look-up beside it; the controller then chooses per step."""
    controller: str = "speckv"
    """A controller as `speckv --controller` spells it; `fixed:4` drafts 4 tokens whatever it costs.
    """
    compression: str = "compact"
    """What the draft model's weights become."""
    threads: int | None = None
    """Threads of the draft model; None is one per core. vLLM computes while the draft waits, and
    the other way round.
    """
    caches: int = 16
    """Most requests that have a cache of the draft model at once, each as long as vLLM's context;
    those beyond draft by look-up.
    """
    read_limit: int = 64
    """Most tokens that the draft model reads per step to catch up, all requests together: while it
    reads, all requests wait. A request that is not caught up has no draft in that step."""
    temperature: float = 0.0
    """What most requests sample with; a start for the predictor, which corrects itself."""
    predictor: str | None = None
    """A file of `speckv train`; None takes the weights shipped for the pair, else the prior."""
    record: str | None = None
    """A file for one JSON line per call, for tests and to look at: rank 0 writes it as named,
    others with `.rankN` added.
    """

    @staticmethod
    def of(vllm_config: Any) -> Settings:
        """Reads them from vLLM's configuration. Raises `ArgumentError` for a name that does not
        exist or a value of another type.
        """
        given = vllm_config.additional_config
        given = given.get("speckv", {}) if isinstance(given, Mapping) else {}
        if not isinstance(given, Mapping):
            raise ArgumentError(
                f"speckv: expected settings by their names, got {given!r}",
                'write {"speckv": {"draft": "ngram"}}',
            )
        fields = {field.name: field.type for field in dataclasses.fields(Settings)}
        for name, value in given.items():
            if name not in fields:
                raise ArgumentError(
                    f"unknown setting speckv.{name}", f"known are {', '.join(fields)}"
                )
            kinds: dict[str, type | tuple[type, ...]] = {
                "str": str,
                "bool": bool,
                "int": int,
                "float": (int, float),
            }
            kind = kinds[str(fields[name]).split(" | ")[0]]
            optional = value is None and "None" in str(fields[name])
            if not optional and (
                not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
            ):
                raise ArgumentError(
                    f"speckv.{name}: expected {fields[name]}, got {value!r}",
                    "see speckv.vllm.Settings",
                )
        settings = Settings(**given)
        for name, least in (("caches", 0), ("read_limit", LEAST_DRAFT_READING)):
            if getattr(settings, name) < least:
                raise ArgumentError(
                    f"speckv.{name}: expected at least {least}, got {getattr(settings, name)}",
                    "see speckv.vllm.Settings",
                )
        return settings


class Proposer:
    """Drafts for vLLM's `method: "custom_class"`."""

    def __init__(self, vllm_config: Any) -> None:
        self.settings = Settings.of(vllm_config)
        self.cap = int(vllm_config.speculative_config.num_speculative_tokens)
        if self.cap > MAX_GAMMA:
            raise ArgumentError(
                f"num_speculative_tokens: expected a gamma from 1 to {MAX_GAMMA}, got {self.cap}",
                "16 is as far as the default controller drafts",
            )
        self.ranks = Ranks(vllm_config.parallel_config.tensor_parallel_size, self.cap)
        self._record = Recorder(self.settings.record, self.ranks.rank)
        self._engine = Engine.of(vllm_config, self.settings) if self.ranks.decides else None

    def load_model(self, *_: Any, **__: Any) -> None:
        """vLLM calls this with the target's weights; nothing here needs them."""

    def propose(
        self,
        sampled_token_ids: list[list[int]],
        num_tokens_no_spec: Any,
        token_ids_cpu: Any,
        slot_mappings: Any = None,
    ) -> list[list[int]]:
        """Draft tokens for every row: at most `num_speculative_tokens` each, none where drafting
        does not pay.
        """
        drafts: list[list[int]] = [[] for _ in sampled_token_ids]
        if self._engine is not None:
            try:
                drafts = self._engine.propose(
                    sampled_token_ids,
                    num_tokens_no_spec,
                    token_ids_cpu,
                    scheduled_tokens(slot_mappings),
                )
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # a panic of the Rust code is no Exception
                log.exception(
                    "SpecKV failed: this step decodes plainly, and what was known of its requests is dropped"
                )
                self._engine.reset()
            if self._engine.failures >= MOST_FAILURES:
                log.error(
                    "SpecKV failed %d times and is off from now on; vLLM decodes plainly",
                    self._engine.failures,
                )
                self._engine = None
        drafts = self.ranks.agree(drafts)
        self._record.write(drafts, self._engine)
        return drafts


class Ranks:
    """Who decides in a tensor-parallel group, and how the others come to know."""

    def __init__(self, size: int, cap: int) -> None:
        self._cap = cap
        self._group: Any = None
        self.rank = 0
        if size > 1:
            from vllm.distributed import get_tp_group

            self._group = get_tp_group()
            self.rank = int(self._group.rank_in_group)

    @property
    def decides(self) -> bool:
        """Whether this rank does."""
        return self.rank == 0

    def agree(self, drafts: list[list[int]]) -> list[list[int]]:
        """The first rank's drafts, on every rank: one broadcast of `[rows, 1 + cap]` numbers, each
        row a count and its tokens.
        """
        if self._group is None or not drafts:
            return drafts
        import torch

        message = torch.zeros((len(drafts), 1 + self._cap), dtype=torch.int32)
        if self.decides:
            for row, draft in enumerate(drafts):
                message[row, : 1 + len(draft)] = torch.tensor(
                    [len(draft), *draft], dtype=torch.int32
                )
        torch.distributed.broadcast(message, src=self._group.ranks[0], group=self._group.cpu_group)
        return [row[1 : 1 + row[0]] for row in message.tolist()]


class Engine:
    """Everything that the deciding rank knows. The clock is an argument, so that tests have their
    own.
    """

    def __init__(
        self,
        drafts: Drafts,
        controller: Callable[[], Controller],
        *,
        cap: int,
        max_length: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.drafts = drafts
        self.curve = PassCurve()
        self.last: dict[str, Any] = {}
        self._controller = controller
        self._cap, self._max_length, self._clock = cap, max_length, clock
        self._requests: list[Request[Draft]] = []
        self._returned: float | None = None
        self._resets = 0

    @property
    def failures(self) -> int:
        """Errors so far."""
        return self._resets + self.drafts.failures

    def reset(self) -> None:
        """Forgets all requests after an error; what was learned of costs stays."""
        self._resets += 1
        self._requests = []  # a sequence without a reference is closed
        self._returned = None
        self.last = {}

    @staticmethod
    def of(vllm_config: Any, settings: Settings) -> Engine:
        """From vLLM's configuration: loads the draft model, checks that it speaks the target's
        vocabulary, and finds the weights for the pair.
        """
        target = vllm_config.model_config
        model = None
        if settings.draft != "ngram":
            model = CpuModel.load(
                settings.draft,
                compression=settings.compression,
                context=int(target.max_model_len),
                threads=settings.threads,
            )
            check_vocabulary(target, model)
        vocab_size = int(target.get_vocab_size())
        drafter = Drafter(
            model, lookup=settings.lookup or model is None, target_vocab_size=vocab_size
        )
        predictor = find_predictor(target, model, settings.predictor, vocab_size)

        def controller() -> Controller:
            return Controller(
                settings.controller, predictor=predictor, temperature=settings.temperature
            )

        controller()  # a name that does not exist is refused now
        cap = int(vllm_config.speculative_config.num_speculative_tokens)
        drafts = Drafts(
            drafter, caches=settings.caches, read_limit=settings.read_limit, lookup=settings.lookup
        )
        return Engine(drafts, controller, cap=cap, max_length=int(target.max_model_len))

    def propose(
        self,
        sampled_token_ids: list[list[int]],
        lengths: Any,
        token_ids: Any,
        scheduled: int | None,
    ) -> list[list[int]]:
        """One step. `scheduled`: tokens in the pass that has just ended, if vLLM said so."""
        called = self._clock()
        rows, gone = match_rows(
            self._requests, sampled_token_ids, np.asarray(lengths), np.asarray(token_ids)
        )
        for request in gone:
            request.state.close()
        expected = sum(
            1 + len(row.request.state.proposed)
            for row in rows
            if row.request is not None and row.continues
        )
        seconds = self._learn_time(rows, expected if scheduled is None else scheduled, called)
        decoding = [row for row in rows if row.sampled]
        accepted = [self._finish_step(row) for row in decoding]
        reading = len(rows) - len(decoding)
        # The chunk of a prompt that is still being read is taken to be as long as the last one.
        chunk = max((scheduled or 0) - expected, reading) if reading else 0
        states = [row.request.state for row in decoding if row.request is not None]
        limits = [max(0, min(self._cap, self._max_length - len(row.text) - 1)) for row in decoding]
        proposed = (
            self.drafts.propose(
                states,
                limits,
                curve=self.curve,
                rows=len(decoding) + chunk,
                waiting=max(1, len(rows)),
            )
            if states
            else []
        )
        places = {id(row): place for place, row in enumerate(rows)}
        proposals: list[list[int]] = [[] for _ in rows]
        self._requests = []
        for row, draft in zip(decoding, proposed):
            assert row.request is not None
            place = places[id(row)]
            proposals[place] = draft
            self._requests.append(Request(place, row.text.copy(), row.request.state))
        self._returned = self._clock()
        self.last = {
            "scheduled": scheduled,
            "expected": expected,
            "pass_seconds": seconds,
            "accepted": accepted,
            "lengths": [len(row.text) for row in decoding],
            "requests": len(self._requests),
            "open_sequences": self.drafts.open_sequences,
            "caches": self.drafts.caches,
            "seconds": self._returned - called,
        } | (self.drafts.work if states else {})
        return proposals

    def _learn_time(self, rows: list[Row[Draft]], tokens: int, called: float) -> float | None:
        """Takes in how long the last pass took, if it was one of decoding alone: every row
        continues a request of the last call and no prompt was read. Then the engine cannot have
        idled either: it had these requests to go on with. `tokens` are those of the pass; graphs
        are padded to certain sizes, and the padding takes time like any other token."""
        if (
            self._returned is None
            or not rows
            or not all(row.sampled and row.continues for row in rows)
        ):
            return None
        seconds = called - self._returned
        self.curve.observe(tokens, seconds)
        return seconds

    def _finish_step(self, row: Row[Draft]) -> int | None:
        """Tells the row's sequence what became of its draft; the number of accepted tokens, or None
        where that cannot be known.
        """
        request = row.request
        if request is None:
            row.request = Request(-1, row.text, self.drafts.open(self._controller, row.text))
            return None
        draft, sequence = request.state, request.state.sequence
        if sequence is None:
            return None
        try:
            accepted = None
            if row.continues and sequence.under_way:
                accepted, verified = outcome(sequence.proposed, row.sampled)
                sequence.observe(accepted, row.sampled[accepted], verified=verified)
            sequence.sync(row.text)
            return accepted
        except Error as error:
            self.drafts.fail(draft, error)
            return None


class Recorder:
    """One JSON line per call. A disk that is full ends the recording, not the server."""

    def __init__(self, path: str | None, rank: int) -> None:
        self._path = Path(path if rank == 0 else f"{path}.rank{rank}") if path else None
        self._call = 0
        if self._path is not None:
            try:
                self._path.open("a", encoding="utf-8").close()
            except OSError as error:
                raise FileError(
                    f"speckv.record: cannot write {self._path}: {error.strerror}",
                    "name a file in a folder that exists",
                ) from error

    def write(self, drafts: list[list[int]], engine: Engine | None) -> None:
        if self._path is None:
            return
        line = {
            "call": self._call,
            "gammas": [len(draft) for draft in drafts],
            "drafts": drafts,
        } | (engine.last if engine else {})
        self._call += 1
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            log.error("SpecKV stops recording to %s: %s", self._path, error.strerror)
            self._path = None


def scheduled_tokens(slot_mappings: Any) -> int | None:
    """Tokens in the pass that has just ended, padding included: the length of any layer's slots.
    vLLM gives a dict by layer, or a list of them where it ran the pass in parts."""
    parts = slot_mappings if isinstance(slot_mappings, list) else [slot_mappings]
    lengths = [next(iter(part.values())).shape[0] for part in parts if part]
    return sum(lengths) if lengths else None


def check_vocabulary(target: Any, model: CpuModel) -> None:
    """Raises `ArgumentError` if draft and target cut text differently: their token ids would not
    mean the same.
    """
    if getattr(target, "skip_tokenizer_init", False):
        log.warning(
            "SpecKV cannot check that the draft speaks the target's vocabulary: vLLM has no tokenizer"
        )
        return
    from vllm.tokenizers import get_tokenizer

    theirs = get_tokenizer(target.tokenizer).encode(PROBE, add_special_tokens=False)
    ours = model.tokenizer().encode(PROBE, parse_special=False, add_special=False)
    if list(theirs) != list(ours):
        first = next(
            (place for place, pair in enumerate(zip(theirs, ours)) if pair[0] != pair[1]),
            min(len(theirs), len(ours)),
        )
        raise ArgumentError(
            f"draft and target have different vocabularies: token {first} of a test text is {theirs[first:][:1]} there and {ours[first:][:1]} here",
            "give a draft of the target's family, or draft with ngram",
        )


def find_predictor(
    target: Any, model: CpuModel | None, path: str | None, vocab_size: int
) -> Predictor | None:
    """A file's weights, else those shipped for the pair, else None: the prior."""
    if path is not None:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise FileError(
                f"speckv.predictor: cannot read {path}: {reason}",
                "name a file that `speckv train` wrote, or leave it away",
            ) from error
        return Predictor.from_json(text)
    config = target.hf_text_config
    shape = ModelShape(
        config.model_type, int(config.num_hidden_layers), int(config.hidden_size), vocab_size
    )
    return Predictor.shipped(shape, model.shape if model is not None else None)
