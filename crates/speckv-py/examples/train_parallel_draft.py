#!/usr/bin/env python3
"""Turns a draft model into a parallel one, which proposes several tokens in one pass.

    python train_parallel_draft.py --target Qwen/Qwen2.5-1.5B-Instruct \\
        --draft Qwen/Qwen2.5-0.5B-Instruct --prompts prompts.jsonl --output parallel
    speckv quantize parallel parallel.gguf --type compact
    speckv bench --draft parallel.gguf

The method is PARD (arXiv 2504.18583). `--prompts` has one JSON object per line with the text of a
user's turn under "prompt". The target answers them, and the draft learns from these answers:
low-rank adapters (LoRA) on its linear layers, and the input embeddings of K - 1 mask tokens. In
training a block of masks follows each position of an answer and sees the text up to there; most
blocks are cut short at random, so that a batch holds more text (conditional drop). The output is a
folder in the layout of the Hugging Face libraries with the adapters merged, the masks in the rows
of unused tokens, and these tokens under `pard_token` in its `config.json`, where `speckv` finds
them.

Printed before and after, on held-out answers: how often the first j tokens of a pass are all
right. One GPU and some minutes are enough for a draft of half a billion parameters; more text
helps more than more passes over it. On `--device cpu` everything runs in float32, slowly: that is
how it is tested.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--target", required=True, help="folder or hub name of the model that answers"
    )
    parser.add_argument(
        "--draft", required=True, help="folder or hub name of the model that learns"
    )
    parser.add_argument(
        "--prompts",
        required=True,
        type=Path,
        help="*.jsonl with a user's turn under `prompt` in each line",
    )
    parser.add_argument("--output", required=True, type=Path, help="folder of the parallel draft")
    parser.add_argument(
        "--tokens", type=int, default=8, help="K: tokens that a pass proposes, 2 to 16"
    )
    parser.add_argument("--max-tokens", type=int, default=256, help="most tokens of an answer")
    parser.add_argument(
        "--answers-per-batch", type=int, default=32, help="answers that are written at once"
    )
    parser.add_argument("--rows", type=int, default=8192, help="rows of a training step")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rank", type=int, default=56)
    parser.add_argument("--alpha", type=float, default=32.0, help="the adapters count alpha / rank")
    parser.add_argument("--learning-rate", type=float, default=8e-4)
    parser.add_argument(
        "--keep",
        type=float,
        default=0.7,
        help="share of the blocks that go one mask further, at each mask",
    )
    parser.add_argument("--held-out", type=int, default=32, help="answers that are not trained on")
    parser.add_argument(
        "--mask-token",
        type=int,
        help="the first of K - 1 consecutive unused tokens; found where none is given",
    )
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--device", default="cuda")
    return parser.parse_args()


# ---------------------------------------------------------------- text

Text = tuple[list[int], list[int]]
"""A prompt and an answer."""


@torch.no_grad()
def answers(model: Any, tokenizer: Any, prompts: list[str], most: int, batch: int) -> list[Text]:
    """The target's own greedy answers: what the draft has to guess."""
    tokenizer.padding_side = "left"
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    texts: list[Text] = []
    turns = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
        )
        for text in prompts
    ]
    order = sorted(range(len(turns)), key=lambda index: len(turns[index]))
    for start in range(0, len(order), batch):
        chosen = [turns[index] for index in order[start : start + batch]]
        fed = tokenizer(chosen, return_tensors="pt", padding=True, add_special_tokens=False).to(
            model.device
        )
        made = model.generate(**fed, max_new_tokens=most, do_sample=False, pad_token_id=pad)
        ends = model.generation_config.eos_token_id
        ends = {*(ends if isinstance(ends, list) else [ends])}
        for mask, row in zip(fed["attention_mask"], made, strict=True):
            width = fed["input_ids"].shape[1]
            prompt, answer = row[:width][mask.bool()].tolist(), row[width:].tolist()
            cut = next(
                (place + 1 for place, token in enumerate(answer) if token in ends), len(answer)
            )
            if cut > 1:
                texts.append((prompt, answer[:cut]))
    return texts


# ---------------------------------------------------------------- rows of a training step


def rows_of(
    texts: list[Text], lengths: list[list[int]], width: int, device: str
) -> dict[str, torch.Tensor]:
    """Rows `[texts, width]` of texts with blocks of masks.

    A text of n tokens takes rows 0 to n - 1. The block of anchor t, of `lengths[text][t]` masks,
    has rows for j = 2, 3, ...: masks at positions t + j - 1 that see the text up to t and the block
    up to themselves, and predict token t + j. `anchor` is the row's own index in the text, or that
    of its block; `step` is 1 for the text and j for masks; `label` is the token to predict, -100
    where there is none.
    """
    anchor, step, label, token = ([[0] * width for _ in texts] for _ in range(4))
    valid = [[False] * width for _ in texts]
    for number, ((prompt, answer), blocks) in enumerate(zip(texts, lengths, strict=True)):
        text = prompt + answer
        rows = [(t, 1) for t in range(len(text))]
        for t in range(len(prompt) - 1, len(text) - 1):
            rows += [(t, j) for j in range(2, blocks[t] + 2) if t + j < len(text)]
        for place, (t, j) in enumerate(rows[:width]):
            anchor[number][place], step[number][place], valid[number][place] = t, j, True
            token[number][place] = text[t]
            inside = len(prompt) - 1 <= t and t + j < len(text)
            label[number][place] = text[t + j] if inside else -100
        label[number][len(rows) :] = [-100] * (width - len(rows[:width]))
    made = {"anchor": anchor, "step": step, "label": label, "token": token}
    return {name: torch.tensor(values, device=device) for name, values in made.items()} | {
        "valid": torch.tensor(valid, device=device)
    }


def attention_of(rows: dict[str, torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """What each row sees, as numbers that are added to the products, `[texts, 1, rows, rows]`."""
    anchor, step, valid = rows["anchor"], rows["step"], rows["valid"]
    query, key = (lambda x: x[:, :, None]), (lambda x: x[:, None, :])
    text = (key(step) == 1) & (key(anchor) <= query(anchor))
    block = (
        (key(step) > 1)
        & (query(step) > 1)
        & (key(anchor) == query(anchor))
        & (key(step) <= query(step))
    )
    seen = (text | block) & key(valid)
    seen |= torch.eye(
        anchor.shape[1], dtype=torch.bool, device=anchor.device
    )  # rows of padding see themselves
    return torch.zeros(seen.shape, dtype=dtype, device=anchor.device).masked_fill(
        ~seen, torch.finfo(dtype).min
    )[:, None]


# ---------------------------------------------------------------- what is trained


class Adapted(torch.nn.Module):
    """A linear layer with `scale * B A` added to its weights."""

    def __init__(self, linear: torch.nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear, self.scale = linear, alpha / rank
        weight = linear.weight
        self.a = torch.nn.Parameter(
            torch.empty(rank, weight.shape[1], device=weight.device).uniform_(-1, 1)
            / weight.shape[1] ** 0.5
        )
        self.b = torch.nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.scale * F.linear(
            F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype)
        )

    @torch.no_grad()
    def merged(self) -> torch.nn.Linear:
        self.linear.weight += (self.scale * self.b @ self.a).to(self.linear.weight.dtype)
        return self.linear


class ParallelDraft(torch.nn.Module):
    """A draft with adapters and mask embeddings."""

    def __init__(self, model: Any, tokens: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        embedding = model.get_input_embeddings().weight
        start = embedding.float().mean(0)  # far from every token, and where tokens are
        self.masks = torch.nn.Parameter(start.repeat(tokens - 1, 1))
        for name, module in list(model.model.named_modules()):
            if isinstance(module, torch.nn.Linear):
                parent = model.model.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], Adapted(module, rank, alpha))

    def trained(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def forward(self, rows: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the rows that have a label, and these labels."""
        embedded = self.model.get_input_embeddings()(rows["token"])
        place = (rows["step"] - 2).clamp(min=0)
        embedded = torch.where(
            (rows["step"] > 1)[..., None], self.masks[place].to(embedded.dtype), embedded
        )
        positions = rows["anchor"] + rows["step"] - 1
        mask = attention_of(rows, embedded.dtype)
        hidden = self.model.model(
            inputs_embeds=embedded, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        chosen = rows["label"] >= 0
        return self.model.lm_head(hidden[chosen]), rows["label"][chosen]

    @torch.no_grad()
    def save(self, folder: Path, tokenizer: Any, first: int) -> None:
        """The merged model, with the masks in the rows of tokens `first`, `first + 1`, ..."""
        for name, module in list(self.model.model.named_modules()):
            if isinstance(module, Adapted):
                parent = self.model.model.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], module.merged())
        embedding = self.model.get_input_embeddings().weight
        embedding[first : first + len(self.masks)] = self.masks.to(embedding.dtype)
        self.model.config.pard_token = list(range(first, first + len(self.masks)))
        self.model.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)


def unused_tokens(model: Any, tokenizer: Any, count: int) -> int:
    """The first of `count` rows of the embedding that no token has."""
    first = max(tokenizer.get_vocab().values()) + 1
    rows = model.get_input_embeddings().weight.shape[0]
    if first + count > rows:
        raise SystemExit(
            f"expected {count} unused rows after the {first} tokens of the vocabulary, got "
            f"{rows - first}\nhint: --mask-token N names the first of so many tokens that no text "
            "has, such as reserved ones"
        )
    return first


# ---------------------------------------------------------------- training


def lengths_of(texts: list[Text], tokens: int, keep: float, rng: random.Random) -> list[list[int]]:
    """Masks of each anchor: one with probability `keep`, one more with `keep` again, and so on.

    At least a fifth of the blocks is whole.
    """
    chances = [max(keep**masks, 0.2) for masks in range(1, tokens)]

    def one() -> int:
        drawn = rng.random()
        return sum(drawn < chance for chance in chances)

    return [[one() for _ in range(len(prompt) + len(answer))] for prompt, answer in texts]


def batches(
    texts: list[Text], tokens: int, rows: int, keep: float, rng: random.Random, device: str
) -> Any:
    """Training steps without end: texts of similar length together, in random order."""
    expected = 1 + sum(max(keep**masks, 0.2) for masks in range(1, tokens))
    need = lambda text: len(text[0]) + int(expected * len(text[1])) + tokens
    while True:
        ordered = sorted(texts, key=lambda text: need(text) + rng.random())
        groups: list[list[Text]] = []
        for text in ordered:
            if not groups or (len(groups[-1]) + 1) * need(text) > rows:
                groups.append([])
            groups[-1].append(text)
        rng.shuffle(groups)
        for group in groups:
            width = min(max(need(text) for text in group), rows)
            yield rows_of(group, lengths_of(group, tokens, keep, rng), width, device)


@torch.no_grad()
def acceptance(draft: ParallelDraft, texts: list[Text], tokens: int, device: str) -> list[float]:
    """How often the first j tokens of a pass are all right, for j = 1 to K.

    At every position of the answers.
    """
    right, count = [0] * tokens, 0
    for text in texts:
        prompt, answer = text
        width = len(prompt) + tokens * len(answer)
        rows = rows_of([text], [[tokens - 1] * (len(prompt) + len(answer))], width, device)
        logits, labels = draft(rows)
        chosen = rows["label"] >= 0
        hits: dict[int, dict[int, bool]] = {}
        for anchor, step, hit in zip(
            rows["anchor"][chosen].tolist(),
            rows["step"][chosen].tolist(),
            (logits.argmax(-1) == labels).tolist(),
            strict=True,
        ):
            hits.setdefault(anchor, {})[step] = hit
        for steps in hits.values():
            count += 1
            for j in range(1, tokens + 1):
                if not steps.get(j, False):
                    break
                right[j - 1] += 1
    return [hit / max(count, 1) for hit in right]


def train(draft: ParallelDraft, texts: list[Text], options: argparse.Namespace) -> float:
    """Trains in place; the mean loss of the last steps."""
    rng = random.Random(options.seed)
    parameters = draft.trained()
    optimizer = torch.optim.AdamW(
        parameters, lr=options.learning_rate, betas=(0.9, 0.95), weight_decay=0.0
    )
    stream = batches(texts, options.tokens, options.rows, options.keep, rng, options.device)
    recent, start = [], time.monotonic()
    for step in range(1, options.steps + 1):
        # Warm-up over ten steps, then even, then down to nothing over the last third.
        factor = min(step / 10, 1.0, max(options.steps - step + 1, 1) / max(options.steps // 3, 1))
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * factor
        logits, labels = draft(next(stream))
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        recent = [*recent[-24:], loss.item()]
        if step % 25 == 0:
            print(
                f"step {step} of {options.steps}: loss {sum(recent) / len(recent):.3f}, "
                f"{time.monotonic() - start:.0f} s",
                flush=True,
            )
    return sum(recent) / len(recent)


def main() -> None:
    options = arguments()
    if not 2 <= options.tokens <= 16:
        raise SystemExit(f"expected --tokens from 2 to 16, got {options.tokens}")
    torch.manual_seed(options.seed)
    dtype = torch.float32 if options.device == "cpu" else torch.bfloat16
    load = lambda name: AutoModelForCausalLM.from_pretrained(name, dtype=dtype).to(options.device)
    tokenizer = AutoTokenizer.from_pretrained(options.target)
    lines = options.prompts.read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line)["prompt"] for line in lines if line.strip()]
    random.Random(options.seed).shuffle(prompts)
    target = load(options.target).eval()
    texts = answers(target, tokenizer, prompts, options.max_tokens, options.answers_per_batch)
    del target
    random.Random(options.seed).shuffle(texts)
    held_out, texts = texts[: options.held_out], texts[options.held_out :]
    if not texts or not held_out:
        raise SystemExit(
            f"expected more prompts than the {options.held_out} of --held-out, got {len(prompts)}"
        )
    print(
        f"{len(texts)} answers of {sum(len(answer) for _, answer in texts)} tokens, "
        f"{len(held_out)} held out",
        flush=True,
    )
    model = load(options.draft)
    first = (
        options.mask_token
        if options.mask_token is not None
        else unused_tokens(model, tokenizer, options.tokens - 1)
    )
    draft = ParallelDraft(model, options.tokens, options.rank, options.alpha)
    shown = lambda shares: " ".join(f"{share:.3f}" for share in shares)
    print(
        "first j tokens right, before:",
        shown(acceptance(draft, held_out, options.tokens, options.device)),
        flush=True,
    )
    train(draft, texts, options)
    print(
        "first j tokens right, after: ",
        shown(acceptance(draft, held_out, options.tokens, options.device)),
        flush=True,
    )
    draft.save(options.output, tokenizer, first)
    print(
        f"{options.output}: next, `speckv quantize {options.output} {options.output}.gguf "
        "--type compact`"
    )


if __name__ == "__main__":
    main()
