"""`examples/train_parallel_draft.py` on a tiny model: its rows are those of a decoding draft, it
learns, and what it writes says what it learned."""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

EXAMPLE = Path(__file__).parent.parent / "examples" / "train_parallel_draft.py"
TOKENS = 4
VOCAB = 48


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("train_parallel_draft", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tiny(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = transformers.Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
    )
    return transformers.Qwen2ForCausalLM(config).eval()


def texts(count: int) -> list[tuple[list[int], list[int]]]:
    """Answers that count upwards: tokens ahead can be known."""
    rng = random.Random(5)
    made = []
    for _ in range(count):
        start = rng.randrange(40)
        made.append(([41, 42, start], [(start + place) % 40 for place in range(1, 13)]))
    return made


def test_a_mask_row_is_the_row_of_a_plain_pass_over_the_text_and_the_masks(example: Any) -> None:
    draft = example.ParallelDraft(tiny(), TOKENS, 4, 8.0)
    with torch.no_grad():
        for parameter in draft.trained():
            parameter.normal_(std=0.3)
    text = texts(1)[0]
    prompt, answer = text
    whole = prompt + answer
    rows = example.rows_of(
        [text], [[TOKENS - 1] * len(whole)], len(prompt) + TOKENS * len(answer), "cpu"
    )
    with torch.no_grad():
        logits, _ = draft(rows)
        chosen = rows["label"] >= 0
        places = list(
            zip(rows["anchor"][chosen].tolist(), rows["step"][chosen].tolist(), strict=True)
        )
        assert {step for _, step in places} == {1, 2, 3, 4}
        embed = draft.model.get_input_embeddings()
        for anchor in range(len(prompt) - 1, len(whole) - TOKENS):
            fed = torch.cat([embed(torch.tensor(whole[: anchor + 1])), draft.masks])[None]
            plain = draft.model(inputs_embeds=fed).logits[0, anchor:]
            for step in range(1, TOKENS + 1):
                row = logits[places.index((anchor, step))]
                assert torch.allclose(row, plain[step - 1], atol=1e-4), (anchor, step)


def test_it_learns_and_the_folder_says_what_it_learned(example: Any, tmp_path: Path) -> None:
    draft = example.ParallelDraft(tiny(), TOKENS, 8, 16.0)
    options = argparse.Namespace(
        tokens=TOKENS, rows=400, keep=0.7, steps=150, learning_rate=1e-2, seed=1, device="cpu"
    )
    held_out = texts(60)[40:]
    before = example.acceptance(draft, held_out, TOKENS, "cpu")
    example.train(draft, texts(40), options)
    after = example.acceptance(draft, held_out, TOKENS, "cpu")
    assert before[TOKENS - 1] < 0.1 and after[TOKENS - 1] > 0.6, (before, after)
    assert all(after[j] >= after[j + 1] for j in range(TOKENS - 1)), (
        "all of the first j include all of the first j - 1"
    )
    prompt = torch.tensor([[41, 42, 7, 8, 9]])
    with torch.no_grad():
        fed = torch.cat([draft.model.get_input_embeddings()(prompt[0]), draft.masks])[None]
        expected = draft.model(inputs_embeds=fed).logits[0, 4:].argmax(-1).tolist()
    draft.save(tmp_path, None, 44)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["pard_token"] == [44, 45, 46]
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        masked = torch.cat([prompt, torch.tensor([[44, 45, 46]])], 1)
        assert merged(masked).logits[0, 4:].argmax(-1).tolist() == expected == [10, 11, 12, 13]


def test_blocks_are_cut_as_often_as_asked(example: Any) -> None:
    lengths = example.lengths_of([([1], [2] * 9_999)], TOKENS, 0.7, random.Random(3))[0]
    share = lambda masks: sum(length >= masks for length in lengths) / len(lengths)
    for masks in range(1, TOKENS):
        assert abs(share(masks) - 0.7**masks) < 0.02
