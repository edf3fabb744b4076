"""Speculation with transformers: greedy identity, exact sampling, and everything in between, on a
tiny pair on the CPU.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import tiny

import speckv
from speckv import Controller, CostModel, Sampler

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import speckv.transformers as subject  # noqa: E402
from speckv.transformers import Speculation, generate, measure_costs  # noqa: E402

CONTROLLERS = [
    "off",
    "fixed:1",
    "fixed:4",
    "speckv",
    "chain+fixed:3",
    "confidence:0.4",
    "heuristic",
    "entropy:svip",
    "paper",
    "ema",
]
PROMPTS = [[10, 20, 30, 10, 20], [7, 8, 9, 7, 8, 9, 7], [65, 66, 67], [100], list(range(40, 90))]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A pair whose draft agrees often and not always; float32."""
    folders = [
        tiny.write(tmp_path_factory.mktemp("target"), seed=3),
        tiny.write(tmp_path_factory.mktemp("draft"), seed=3, noise=0.15),
    ]
    torch.set_num_threads(1)
    target, draft = (
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        for folder in folders
    )
    return target, draft


def plain(model: Any, prompt: list[int], count: int, ends: list[int] | None = None) -> list[int]:
    """What the library itself generates greedily."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=count,
        eos_token_id=ends or None,
        pad_token_id=0,
    )
    return [int(token) for token in out[0, len(prompt) :]]


@pytest.mark.parametrize("name", CONTROLLERS)
def test_greedy_tokens_are_those_of_generate(pair, name):
    target, draft = pair
    steps = tokens = accepted = 0
    for prompt in PROMPTS:
        result = generate(target, draft, prompt, controller=name, max_new_tokens=48, end_tokens=[])
        assert result.tokens == plain(target, prompt, 48), (name, prompt)
        assert sum((record.tokens for record in result.records), []) == result.tokens
        assert result.finish_reason == "length"
        steps, tokens, accepted = (
            steps + len(result.records),
            tokens + 48,
            accepted + result.accepted,
        )
    if name == "off":
        assert steps == tokens and accepted == 0
    else:
        assert accepted > 0 and steps == tokens - accepted


def test_look_up_alone_needs_no_draft(pair):
    target, _ = pair
    drafted = 0
    for prompt in PROMPTS:
        result = generate(
            target, None, prompt, controller="chain+fixed:4", max_new_tokens=80, end_tokens=[]
        )
        assert result.tokens == plain(target, prompt, 80)
        drafted += result.drafted
    assert drafted > 0


def test_an_end_token_ends_the_text_where_generate_ends_it(pair):
    target, draft = pair
    for prompt in PROMPTS:
        whole = plain(target, prompt, 40)
        end = whole[17]
        for name in ["off", "fixed:4", "fixed:7"]:
            result = generate(
                target, draft, prompt, controller=name, max_new_tokens=40, end_tokens=[end]
            )
            assert (
                result.tokens == plain(target, prompt, 40, [end]) == whole[: whole.index(end) + 1]
            )
            assert result.finish_reason == "stop" and result.tokens[-1] == end


def test_the_models_own_end_token_is_the_default(pair):
    target, draft = pair
    result = generate(target, draft, PROMPTS[0], max_new_tokens=5)
    assert result.tokens == plain(target, PROMPTS[0], 5, [256])


def test_prompts_of_every_form_are_read(pair):
    target, draft = pair
    expected = generate(target, draft, [10, 20, 30], controller="fixed:2", max_new_tokens=6).tokens
    tensor = torch.tensor([[10, 20, 30]])
    for prompt in (tensor, tensor[0], tensor.numpy(), {"input_ids": tensor}, (10, 20, 30)):
        assert (
            generate(target, draft, prompt, controller="fixed:2", max_new_tokens=6).tokens
            == expected
        )
    with pytest.raises(speckv.ArgumentError, match="one prompt"):
        generate(target, draft, torch.zeros((2, 3), dtype=torch.long))
    with pytest.raises(speckv.ArgumentError, match="at least one token"):
        generate(target, draft, [])


def test_the_context_bounds_the_text(pair):
    target, draft = pair
    prompt = [1 + n % 200 for n in range(500)]
    result = generate(
        target, draft, prompt, controller="fixed:8", max_new_tokens=100, end_tokens=[]
    )
    assert len(result.tokens) == 512 - 500 and result.finish_reason == "length"
    assert result.tokens == plain(target, prompt, 12)
    with pytest.raises(speckv.ArgumentError, match="context"):
        generate(target, draft, [1] * 513)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("who", ["target", "draft"])
def test_a_pass_that_breaks_off_between_two_layers_leaves_the_text_as_it_was(pair, who, error):
    """The first layer has then stored its keys and values and the second has not."""
    target, draft = pair
    calls = 0

    def break_off(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls in fatal:
            raise error("in the middle of a pass")

    for fatal in ({1}, {2}, {4, 5, 9}):
        calls = 0
        text = Speculation(target, draft)
        hook = (
            (target if who == "target" else draft)
            .model.layers[1]
            .register_forward_pre_hook(break_off)
        )
        broken = 0
        try:
            while True:
                try:
                    text.start(PROMPTS[4], Controller("fixed:3"), max_new_tokens=24)
                    break
                except error:
                    broken += 1
            while text.finish_reason is None:
                before = list(text.tokens)
                try:
                    text.step()
                except error:
                    broken += 1
                    assert text.tokens == before
                    reader = getattr(text, who)
                    assert reader.length == reader.cache.get_seq_length() == 0
        finally:
            hook.remove()
        assert broken == len(fatal)
        assert text.tokens[len(PROMPTS[4]) :] == plain(target, PROMPTS[4], 24)


def test_rewinding_and_starting_anew_equal_a_fresh_text(pair):
    target, draft = pair
    text = Speculation(target, draft)
    text.start(PROMPTS[4], Controller("fixed:4"), max_new_tokens=20)
    first = [record.tokens for record in text.steps()]
    text.rewind(Controller("fixed:4"))
    assert [record.tokens for record in text.steps()] == first
    other = PROMPTS[4][:30] + [5, 6]
    text.start(other, Controller("speckv"), max_new_tokens=20)
    for _ in text.steps():
        pass
    assert text.tokens[len(other) :] == plain(target, other, 20)


def test_a_step_that_fails_leaves_the_text_as_it_was(pair, monkeypatch):
    target, draft = pair
    text = Speculation(target, draft)
    text.start(PROMPTS[1], Controller("fixed:3"), max_new_tokens=24)
    text.step()
    before = list(text.tokens)
    with monkeypatch.context() as patch:
        patch.setattr(
            text.target, "read", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory"))
        )
        with pytest.raises(RuntimeError, match="out of memory"):
            text.step()
    assert text.tokens == before and text.target.length <= len(before) - 1
    for _ in text.steps():
        pass
    assert text.tokens[len(PROMPTS[1]) :] == plain(target, PROMPTS[1], 24)


def test_the_cpu_backend_says_what_transformers_says(pair, tmp_path):
    """The same file in both: the same signals up to the eight bits of the CPU backend's
    activations.
    """
    target, _ = pair
    model = speckv.CpuModel.load(tiny.write(tmp_path / "m", seed=3))
    tokens = PROMPTS[4]
    ours = model.forward([(model.cache(), tokens, len(tokens))])
    with torch.inference_mode():
        theirs = target(torch.tensor([tokens])).logits[0].numpy()
    agree = (ours.argmax(1) == theirs.argmax(1)).mean()
    assert agree > 0.9, agree
    for (_, mine), (_, other) in zip(
        speckv.read_signals_rows(ours), speckv.read_signals_rows(theirs)
    ):
        assert mine.entropy_bits == pytest.approx(other.entropy_bits, abs=0.35)


# ------------------------------------------------------------------------------------------------------------------
# sampling

VOCAB = 6


@pytest.fixture(scope="module")
def small_pair() -> tuple[Any, Any]:
    """Two unrelated models over six tokens: most drafts are rejected, so that the rule of
    acceptance carries the result.
    """

    def model(seed: int) -> Any:
        torch.manual_seed(seed)
        config = transformers.Qwen2Config(
            vocab_size=VOCAB, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=64, bos_token_id=None, eos_token_id=None, initializer_range=0.9,
        )  # fmt: skip
        return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()

    return model(1), model(2)


def sequence_probabilities(
    model: Any, prompt: list[int], length: int, sampler: Sampler
) -> dict[tuple[int, ...], float]:
    """The target's probability of every continuation, by enumeration."""
    found: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(length):
        grown: dict[tuple[int, ...], float] = {}
        for text, probability in found.items():
            with torch.inference_mode():
                logits = model(torch.tensor([prompt + list(text)])).logits[0, -1].float().numpy()
            for token, p in sampler.distribution(logits, prompt + list(text)).items():
                if p > 0:
                    grown[(*text, token)] = probability * p
        found = grown
    return found


def chi_square_p(
    counts: dict[tuple[int, ...], int], expected: dict[tuple[int, ...], float], draws: int
) -> float:
    """P of Pearson's test, by the Wilson-Hilferty approximation; cells that expect fewer than 5 are
    one cell.
    """
    assert set(counts) <= set(expected), "a text that the target cannot say"
    statistic, cells, rest = 0.0, 0, [0.0, 0.0]
    for text, probability in expected.items():
        seen, hoped = counts.get(text, 0), probability * draws
        if hoped < 5:
            rest = [rest[0] + seen, rest[1] + hoped]
        else:
            statistic += (seen - hoped) ** 2 / hoped
            cells += 1
    if rest[1] > 0:
        statistic += (rest[0] - rest[1]) ** 2 / rest[1]
        cells += 1
    freedom = cells - 1
    z = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    return 0.5 * math.erfc(z / math.sqrt(2))


def sampled(
    pair: tuple[Any, Any], name: str, sampler: Sampler, draws: int, lookup: bool = False
) -> tuple[dict[tuple[int, ...], int], int]:
    target, draft = pair
    text = Speculation(target, None if lookup else draft, lookup=lookup)
    prompt = [1, 2, 3, 1, 2]
    counts: dict[tuple[int, ...], int] = {}
    drafted = 0
    for seed in range(draws):
        text.start(
            prompt,
            Controller(name, temperature=sampler.temperature),
            max_new_tokens=3,
            sampler=sampler,
            seed=seed,
        )
        drafted += sum(len(record.drafted) for record in text.steps())
        key = tuple(text.tokens[len(prompt) :])
        counts[key] = counts.get(key, 0) + 1
    return counts, drafted


@pytest.mark.parametrize(
    ("name", "sampler", "lookup"),
    [
        ("fixed:2", Sampler(1.0), False),
        ("confidence:0.4", Sampler(0.8, top_p=0.9), False),
        ("chain+fixed:2", Sampler(1.0, repetition_penalty=1.3), True),
    ],
)
def test_sampled_texts_have_the_targets_distribution(small_pair, name, sampler, lookup):
    expected = sequence_probabilities(small_pair[0], [1, 2, 3, 1, 2], 3, sampler)
    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-4)
    counts, drafted = sampled(small_pair, name, sampler, 4000, lookup)
    assert drafted > 1300
    assert (
        chi_square_p(counts, expected, 4000) > 1e-4
    )  # three cases: a right rule fails with 0.03 %, the wrong one below with certainty


def test_a_broken_verifier_fails_the_same_test(small_pair, monkeypatch):
    """Accepting every draft token samples from the draft: the test must see that."""
    monkeypatch.setattr(subject, "verify", lambda drafted, p, q, u, v: (True, drafted))
    sampler = Sampler(1.0)
    expected = sequence_probabilities(small_pair[0], [1, 2, 3, 1, 2], 3, sampler)
    counts, _ = sampled(small_pair, "fixed:2", sampler, 1500)
    assert chi_square_p(counts, expected, 1500) < 1e-9


def test_a_seed_makes_the_same_text_again(small_pair):
    one, two = (
        generate(
            *small_pair,
            [1, 2],
            sampler=Sampler(1.0),
            controller="fixed:3",
            seed=8,
            max_new_tokens=30,
        ).tokens
        for _ in range(2)
    )
    other = generate(
        *small_pair, [1, 2], sampler=Sampler(1.0), controller="fixed:3", seed=9, max_new_tokens=30
    ).tokens
    assert one == two != other


def test_costs_are_measured_in_place(pair):
    costs = measure_costs(*pair, PROMPTS[4], rows=(1, 2, 5), repeats=2)
    assert 0 < costs.plain_seconds(50) <= costs.verify_seconds(5, 50)
    assert 0 < costs.draft_seconds(50) < 60 and 0 < costs.catch_up_seconds(1)
    result = generate(*pair, PROMPTS[4], costs=costs, max_new_tokens=30, end_tokens=[])
    assert result.tokens == plain(pair[0], PROMPTS[4], 30)
    assert isinstance(costs, CostModel)


def test_rows_of_the_target_with_nan_are_refused(pair, monkeypatch):
    target, _ = pair
    text = Speculation(target)
    text.start(PROMPTS[1], Controller("off"), max_new_tokens=8)
    read = text.target.read
    for broken in (float("nan"), float("inf")):

        def spoiled(*arguments: object, value: float = broken) -> torch.Tensor:
            rows = read(*arguments).clone()
            rows[-1, 7] = value
            return rows

        with monkeypatch.context() as patch:
            patch.setattr(text.target, "read", spoiled)
            with pytest.raises(speckv.ArgumentError, match="makes no token"):
                text.step()
    for _ in text.steps():
        pass
    assert text.tokens[len(PROMPTS[1]) :] == plain(target, PROMPTS[1], 8)


def test_a_draft_with_nan_ends_drafting_and_not_the_text(pair, monkeypatch):
    target, draft = pair
    text = Speculation(target, draft)
    text.start(PROMPTS[1], Controller("fixed:3"), max_new_tokens=12)
    read = text.draft.read
    monkeypatch.setattr(text.draft, "read", lambda *arguments: read(*arguments) * float("nan"))
    with pytest.warns(RuntimeWarning, match="proposes nothing"):
        for _ in text.steps():
            pass
    assert text.tokens[len(PROMPTS[1]) :] == plain(target, PROMPTS[1], 12)
    assert text.broken_drafts > 0
