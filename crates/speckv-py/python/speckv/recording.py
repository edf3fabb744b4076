"""The laboratory's files from `transformers` models: step records for `speckv report`, evaluations
for `speckv evaluate` and `speckv report`.

`record_grid` is `speckv profile --grid` (docs/reference/steps.md): every gamma on every prompt,
interleaved, one record per step. `evaluate` is `speckv evaluate`: controllers side by side on every
prompt, paired.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ._native import (
    Controller,
    CostModel,
    Predictor,
    StepGrid,
    StepRecord,
    block_order,
    judge_evaluation,
)
from .errors import ArgumentError, FileError
from .transformers import Speculation, _end_tokens

__all__ = ["Prompt", "evaluate", "model_facts", "prompts_of", "record_grid"]

WARM_UP = 4
"""Tokens with the first gamma before anything is kept."""


@dataclass(frozen=True)
class Prompt:
    """A prompt of a workload, as `workloads/*.jsonl` has them, with its tokens as the target reads
    them.
    """

    id: str
    task: str
    split: Literal["train", "test"]
    tokens: list[int]


def prompts_of(
    files: Iterable[str | Path], tokenizer: Any, *, split: str = "all", limit: int | None = None
) -> list[Prompt]:
    """Prompts of JSON-lines files (`id`, `task`, `split`, `prompt`, perhaps `system`), through the
    tokenizer's chat template where it has one.

    `split`: `train`, `test` or `all`; `limit`: so many of each task."""
    prompts: list[Prompt] = []
    for file in files:
        taken = 0
        for number, line in enumerate(Path(file).read_text("utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                text, name, task, part = entry["prompt"], entry["id"], entry["task"], entry["split"]
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise FileError(
                    f"{file}:{number}: no prompt: {error!r}",
                    "crates/speckv-lab/workloads/README.md describes the format",
                ) from error
            if split not in ("all", part) or (limit is not None and taken >= limit):
                continue
            messages = (
                [{"role": "system", "content": entry["system"]}] if entry.get("system") else []
            )
            messages.append({"role": "user", "content": text})
            if getattr(tokenizer, "chat_template", None):
                rendered = tokenizer.apply_chat_template(
                    messages, add_generation_prompt=True, tokenize=False
                )
                tokens = tokenizer(rendered, add_special_tokens=False)["input_ids"]
            else:
                tokens = tokenizer("\n".join(message["content"] for message in messages))[
                    "input_ids"
                ]
            prompts.append(Prompt(name, task, part, [int(token) for token in tokens]))
            taken += 1
    if not prompts:
        raise ArgumentError(
            "expected at least one prompt, got none", "check the files and the split"
        )
    return prompts


def model_facts(
    model: Any, name: str, compression: str, folder: str | Path | None = None
) -> dict[str, Any]:
    """What a recording says of a model: its name, a digest and the size of its weight files, its
    shape.

    `folder`: where its `*.safetensors` or `*.bin` lie; without it (weights made in memory) the
    digest is that of the config."""
    config = model.config.get_text_config()
    digest, size = hashlib.sha256(), 0
    files = (
        []
        if folder is None
        else sorted(p for p in Path(folder).iterdir() if p.suffix in (".safetensors", ".bin"))
    )
    for path in files:
        size += path.stat().st_size
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    if not files:
        digest.update(json.dumps(config.to_dict(), sort_keys=True, default=str).encode())
    return {
        "name": name,
        "sha256": digest.hexdigest(),
        "bytes": size,
        "shape": {
            "architecture": str(config.model_type),
            "layers": int(config.num_hidden_layers),
            "hidden": int(config.hidden_size),
            "vocab_size": int(config.vocab_size),
        },
        "compression": compression,
    }


class _Pieces:
    """The text that each token completes: nothing for special tokens and while a character is
    incomplete.
    """

    def __init__(self, tokenizer: Any | None) -> None:
        self.tokenizer = tokenizer
        self.tokens: list[int] = []
        self.said = ""

    def push(self, token: int) -> str:
        if self.tokenizer is None:
            return ""
        self.tokens.append(token)
        text = self.tokenizer.decode(self.tokens, skip_special_tokens=True)
        if text.endswith("\ufffd") or not text.startswith(self.said):
            return ""
        piece = text[len(self.said) :]
        self.said = text
        return str(piece)


def record_grid(
    grid: StepGrid,
    target: Any,
    draft: Any | None,
    prompts: Sequence[Prompt],
    *,
    compression: str,
    gammas: Sequence[int],
    max_new_tokens: int,
    seed: int,
    tokenizer: Any | None = None,
    end_tokens: Sequence[int] | None = None,
    on_prompt: Callable[[str, bool], None] | None = None,
) -> int:
    """Decodes every prompt greedily with every gamma (0 is plain decoding) from the same caches, in
    the order that `seed` and the prompt decide, and saves one part per prompt. Prompts that are
    there are left alone; returns the number recorded. `gammas`, `max_new_tokens` and `seed` are
    those of the grid's settings. `on_prompt` hears of each prompt whether it was recorded now."""
    ends = _end_tokens(target) if end_tokens is None else list(end_tokens)
    text = Speculation(target, draft, lookup=draft is None)
    recorded = 0
    for prompt in prompts:
        if grid.holds(compression, prompt.id, prompt.tokens):
            if on_prompt is not None:
                on_prompt(prompt.id, False)
            continue

        def fixed(gamma: int) -> Controller:
            return Controller("off") if gamma == 0 else Controller(f"fixed:{gamma}")

        text.start(
            prompt.tokens,
            fixed(gammas[0]),
            max_new_tokens=min(WARM_UP, max_new_tokens),
            end_tokens=ends,
        )
        for _ in text.steps():
            pass
        order = block_order(seed, compression, prompt.id, len(gammas))
        answers: list[tuple[int, int, list[StepRecord], list[list[str]]] | None] = [None] * len(
            gammas
        )
        for place, which in enumerate(order):
            text.rewind(fixed(gammas[which]), max_new_tokens=max_new_tokens)
            pieces = _Pieces(tokenizer)
            records = list(text.steps())
            words = [[pieces.push(token) for token in record.tokens] for record in records]
            answers[which] = (gammas[which], place, records, words)
        grid.save(
            compression,
            prompt.id,
            prompt.tokens,
            task=prompt.task,
            split=prompt.split,
            temperature=0.0,
            answers=[answer for answer in answers if answer is not None],
        )
        recorded += 1
        if on_prompt is not None:
            on_prompt(prompt.id, True)
    return recorded


def evaluate(
    target: Any,
    draft: Any | None,
    prompts: Sequence[Prompt],
    *,
    controllers: Sequence[str],
    costs: CostModel,
    conditions: dict[str, Any],
    baseline: str = "off",
    predictor: Predictor | None = None,
    compression: float = 0.0,
    max_new_tokens: int = 128,
    rounds: int = 1,
    seed: int = 0,
    split: str = "test",
    command: Sequence[str] = (),
    end_tokens: Sequence[int] | None = None,
) -> str:
    """Controllers side by side on every prompt, in an order drawn anew for each: the text of an
    `evaluation.json` with its verdicts against `baseline`.

    `conditions`: machine, instruction_set, threads, target {name, sha256}, compression, draft (or
    None), draft_compression, max_tokens. Answers that differ from the
    baseline's are counted as mismatches (in half precision near-ties make some: see
    `speckv.transformers`)."""
    names = list(dict.fromkeys(controllers))
    if baseline not in names:
        raise ArgumentError(
            f"the baseline {baseline!r} does not take part", f"controllers: {', '.join(names)}"
        )
    ends = _end_tokens(target) if end_tokens is None else list(end_tokens)
    text = Speculation(target, draft)
    cells = {name: [{"tokens": 0.0, "seconds": 0.0} for _ in prompts] for name in names}
    histograms: dict[str, list[int]] = {name: [] for name in names}
    mismatches = 0
    draw = random.Random(seed)
    for _ in range(rounds):
        for index, prompt in enumerate(prompts):
            text.start(
                prompt.tokens,
                Controller("off"),
                max_new_tokens=min(WARM_UP, max_new_tokens),
                end_tokens=ends,
            )
            for _ in text.steps():
                pass
            answers: dict[str, list[int]] = {}
            for name in draw.sample(names, len(names)):
                controller = Controller(
                    name, costs=costs, predictor=predictor, compression=compression
                )
                text.rewind(controller, max_new_tokens=max_new_tokens)
                for record in text.steps():
                    cells[name][index]["tokens"] += len(record.tokens)
                    cells[name][index]["seconds"] += record.total_seconds
                    drafted = len(record.drafted)
                    histogram = histograms[name]
                    histogram.extend([0] * (drafted + 1 - len(histogram)))
                    histogram[drafted] += 1
                answers[name] = text.tokens[text.prompt_length :]
            mismatches += sum(answer != answers[baseline] for answer in answers.values())
    evaluation = {
        "command": list(command),
        "conditions": {"max_tokens": max_new_tokens, **conditions},
        "split": split,
        "rounds": rounds,
        "seed": seed,
        "stopped": False,
        "mismatches": mismatches,
        "prompts": [{"id": prompt.id, "task": prompt.task} for prompt in prompts],
        "sides": [
            {"name": name, "cells": cells[name], "gamma_histogram": histograms[name]}
            for name in names
        ],
    }
    return judge_evaluation(evaluation, baseline)
