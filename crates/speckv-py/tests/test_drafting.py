"""Drafting for an engine that only verifies: many sequences, each with its controller; models on
the CPU; look-up.
"""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tiny

import speckv
from speckv import Controller, CostModel, CpuModel, Drafter, NgramText, OrderError, Source
from speckv._native import LEAST_DRAFT_READING

PROMPTS = [[10, 20, 30, 10, 20], [7, 8, 9, 7, 8, 9, 7], [65, 66, 67], [100]]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> CpuModel:
    return CpuModel.load(tiny.write(tmp_path_factory.mktemp("target"), seed=3), threads=1)


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> CpuModel:
    return CpuModel.load(
        tiny.write(tmp_path_factory.mktemp("draft"), seed=3, noise=0.15), threads=1
    )


def greedy(model: CpuModel, prompt: list[int], count: int) -> list[int]:
    """Plain decoding, one token at a time."""
    cache, tokens = model.cache(), list(prompt)
    model.prefill(cache, prompt[:-1])
    for _ in range(count):
        [(token, _)] = model.step([(cache, tokens[len(cache) :])])
        tokens.append(token)
    return tokens[len(prompt) :]


class Verifier:
    """A foreign engine: greedy verification of several sequences in one pass."""

    def __init__(self, model: CpuModel) -> None:
        self.model = model
        self.caches: dict[int, speckv.Cache] = {}

    def verify(
        self, texts: dict[int, list[int]], drafts: dict[int, list[int]]
    ) -> dict[int, tuple[int, int]]:
        feeds = []
        for name, text in texts.items():
            cache = self.caches.setdefault(name, self.model.cache())
            cache.truncate(len(text) - 1)
            feeds.append((cache, text[len(cache) :] + drafts[name], len(drafts[name]) + 1))
        logits = self.model.forward(feeds)
        outcomes, row = {}, 0
        for name in texts:
            best = logits[row : row + len(drafts[name]) + 1].argmax(axis=1)
            row += len(drafts[name]) + 1
            accepted = 0
            while accepted < len(drafts[name]) and drafts[name][accepted] == best[accepted]:
                accepted += 1
            outcomes[name] = (accepted, int(best[accepted]))
        return outcomes


def serve(
    drafter: Drafter, model: CpuModel, name: str, count: int
) -> tuple[dict[int, list[int]], list[tuple[int, ...]]]:
    """All prompts at once, until each has `count` tokens; the outputs, and how much each sequence
    drafted in each step.
    """
    costs = CostModel.from_curve([0.04 + 0.001 * row for row in range(17)], 0.002)
    verifier = Verifier(model)
    texts = {index: list(prompt) for index, prompt in enumerate(PROMPTS)}
    sequences = {
        index: drafter.open(Controller(name, costs=costs), prompt)
        for index, prompt in enumerate(PROMPTS)
    }
    lengths = []
    while sequences:
        running = list(sequences)
        limits = [count - (len(texts[index]) - len(PROMPTS[index])) - 1 for index in running]
        proposals = drafter.propose([sequences[index] for index in running], limits)
        lengths.append(tuple(len(proposal) for proposal in proposals))
        drafts = dict(zip(running, proposals))
        for index, (accepted, token) in verifier.verify(
            {index: texts[index] for index in running}, drafts
        ).items():
            record = sequences[index].observe(accepted, token)
            texts[index] += record.tokens
            assert sequences[index].tokens().tolist() == texts[index]
            if len(texts[index]) - len(PROMPTS[index]) >= count:
                sequences.pop(index).close()
    return {index: text[len(PROMPTS[index]) :] for index, text in texts.items()}, lengths


@pytest.mark.parametrize(
    "name", ["fixed:3", "speckv", "chain+fixed:2", "confidence:0.3", "heuristic", "off"]
)
@pytest.mark.parametrize("lookup", [True, False])
def test_whatever_is_drafted_the_output_is_that_of_plain_decoding(target, draft, name, lookup):
    drafter = Drafter(draft, lookup=lookup)
    outputs, lengths = serve(drafter, target, name, 40)
    for index, prompt in enumerate(PROMPTS):
        assert outputs[index] == greedy(target, prompt, 40), prompt
    assert drafter.open_sequences == 0
    if name == "off":
        assert all(set(step) == {0} for step in lengths)
    else:
        assert len(lengths) < 40, "some draft token was accepted"
    if name in ("confidence:0.3", "speckv"):
        assert any(len(set(step)) > 1 for step in lengths), (
            "sequences of one step may draft different numbers"
        )


def test_look_up_alone_drafts_without_a_model(target):
    outputs, lengths = serve(Drafter(), target, "speckv", 60)
    assert outputs == {index: greedy(target, prompt, 60) for index, prompt in enumerate(PROMPTS)}
    assert any(any(step) for step in lengths)


def test_the_same_calls_propose_the_same_in_every_process(target, draft):
    one, two = (serve(Drafter(draft), target, "speckv", 48) for _ in range(2))
    assert one == two


def test_drafting_together_is_drafting_alone(target, draft):
    """A row's bits do not depend on its batch: so neither do proposals."""
    together = Drafter(draft, lookup=False)
    sequences = [together.open(Controller("fixed:5"), prompt) for prompt in PROMPTS]
    proposals = together.propose(sequences, 5)
    for prompt, proposal in zip(PROMPTS, proposals):
        alone = Drafter(draft, lookup=False)
        assert alone.propose([alone.open(Controller("fixed:5"), prompt)], 5) == [proposal]
        assert proposal == greedy(draft, prompt, 5)


def test_a_draft_with_a_mask_token_proposes_several_tokens_in_one_pass(target, tmp_path):
    mask = 300
    draft = CpuModel.load(tiny.write(tmp_path, seed=3, noise=0.15, mask=mask), threads=1)
    drafter = Drafter(draft, lookup=False)
    assert drafter.parallel >= 4
    # Passes over several tokens cost no more than over one: then one pass drafts.
    costs = CostModel.from_curve([0.04] * 17, 0.03)
    sequences = [drafter.open(Controller("speckv", costs=costs), prompt) for prompt in PROMPTS]
    proposals = drafter.propose(sequences, 4)
    for prompt, proposal in zip(PROMPTS, proposals):
        rows = draft.forward([(draft.cache(), prompt + 3 * [mask], 4)])
        assert proposal == rows.argmax(axis=1).tolist()
    assert (drafter.work.model_passes, drafter.work.model_tokens) == (1, 4 * len(PROMPTS))
    for sequence, proposal in zip(sequences, proposals):
        record = sequence.observe(len(proposal), 1)
        assert record.plan.source == Source.PARALLEL
    outputs, _ = serve(Drafter(draft, lookup=False), target, "speckv", 40)
    assert outputs == {index: greedy(target, prompt, 40) for index, prompt in enumerate(PROMPTS)}


def test_the_model_reads_several_texts_together_and_no_further_than_the_limit(draft):
    prompts = [[3 + 7 * i % 200 for i in range(40)], [5 + 11 * i % 200 for i in range(60)]]
    for limit, read, drafting in [(None, 39 + 59, [True, True]), (50, 50, [True, False])]:
        drafter = Drafter(draft, lookup=False)
        sequences = [drafter.open(Controller("fixed:3"), prompt) for prompt in prompts]
        proposals = drafter.propose(sequences, 3, read_limit=limit)
        assert drafter.work.catch_up_tokens == read
        for prompt, proposal, drafts in zip(prompts, proposals, drafting):
            assert proposal == (greedy(draft, prompt, 3) if drafts else [])


def test_tokens_that_are_read_along_take_nothing_from_the_limit(draft):
    long = [[3 + 7 * i % 200 for i in range(60)], [5 + 11 * i % 200 for i in range(60)]]
    drafter = Drafter(draft, lookup=False)
    first, read, last = (
        drafter.open(Controller("fixed:3"), text) for text in [long[0], PROMPTS[0], long[1]]
    )
    drafter.propose([read])
    read.extend([11, 12, 13])  # fewer than need a pass of their own
    limit = LEAST_DRAFT_READING
    proposals = drafter.propose([first, read, last], 3, read_limit=limit)
    assert proposals == [[], greedy(draft, read.tokens().tolist(), 3), []]
    assert drafter.work.catch_up_tokens == limit


def test_a_model_computes_what_numpy_computes_of_its_file(target):
    logits = target.forward([(target.cache(), [1, 2, 3], 3)])
    assert (
        logits.shape == (3, tiny.VOCAB) and logits.dtype == np.float32 and np.isfinite(logits).all()
    )
    made = tiny.weights(3)
    x = made["model.embed_tokens.weight"][[1]].astype(np.float64)
    norm = lambda v: v / np.sqrt((v**2).mean(-1, keepdims=True) + 1e-6)  # noqa: E731
    for layer in range(tiny.LAYERS):  # one token: attention is its own value, whatever the angles
        at = lambda name: made[f"model.layers.{layer}.{name}"].astype(np.float64)  # noqa: B023, E731
        v = norm(x) @ at("self_attn.v_proj.weight").T + at("self_attn.v_proj.bias")
        heads = np.repeat(
            v.reshape(tiny.KV_HEADS, -1), tiny.HEADS // tiny.KV_HEADS, axis=0
        ).reshape(1, -1)
        x = x + heads @ at("self_attn.o_proj.weight").T
        gate, up = norm(x) @ at("mlp.gate_proj.weight").T, norm(x) @ at("mlp.up_proj.weight").T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ at("mlp.down_proj.weight").T
    expected = norm(x) @ made["lm_head.weight"].astype(np.float64).T
    correlation = np.corrcoef(expected[0], logits[0])[0, 1]
    assert correlation > 0.999, correlation  # activations go through 8 bits


def test_truncating_a_cache_forgets_and_a_pass_reads_on(target):
    cache = target.cache()
    target.prefill(cache, [1, 2, 3, 4])
    assert len(cache) == 4
    cache.truncate(2)
    again = target.forward([(cache, [3, 4, 5], 1)])
    assert np.array_equal(again, target.forward([(target.cache(), [1, 2, 3, 4, 5], 1)]))
    assert len(cache) == 5


def test_a_tokenizer_and_a_shape_come_with_the_model(target):
    tokenizer = target.tokenizer()
    assert tokenizer.decode(tokenizer.encode("Grüße, 世界!")) == "Grüße, 世界!"
    assert target.shape == speckv.ModelShape("qwen2", tiny.LAYERS, tiny.HIDDEN, tiny.VOCAB)
    assert (target.vocab_size, target.context_length, target.threads) == (tiny.VOCAB, 512, 1)


def test_errors_carry_hints(target, draft, tmp_path):
    wrong: list[tuple[type[Exception], object]] = [
        (speckv.ModelError, lambda: CpuModel.load(tmp_path / "none.gguf")),
        (speckv.ModelError, lambda: CpuModel.load(tmp_path)),
        (speckv.ArgumentError, lambda: CpuModel.load(target.path, compression="int5")),
        (speckv.ModelError, lambda: CpuModel.load(target.path, context=100_000)),
        (speckv.ArgumentError, lambda: CpuModel.load(target.path, threads=0)),
        (speckv.ArgumentError, lambda: target.forward([(draft.cache(), [1], 1)])),
        (speckv.ModelError, lambda: target.forward([(target.cache(), [tiny.VOCAB], 1)])),
        (speckv.ModelError, lambda: target.forward([(target.cache(), [1], 2)])),
        (speckv.ArgumentError, lambda: target.prefill(target.cache(), [-1])),
        (speckv.ArgumentError, lambda: target.prefill(target.cache(), np.zeros((2, 2), np.int64))),
        (speckv.ArgumentError, lambda: target.prefill(target.cache(), np.zeros(2, np.float32))),
        (speckv.ArgumentError, lambda: Drafter(min_match=0)),
        (speckv.FileError, lambda: speckv.TraceFolder(tmp_path)),
        (speckv.ArgumentError, lambda: speckv.Sampler(-1.0)),
    ]
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF" + b"\x00" * 40)
    wrong.append((speckv.ModelError, lambda: CpuModel.load(tmp_path / "damaged.gguf")))
    for kind, call in wrong:
        with pytest.raises(kind) as caught:
            call()  # type: ignore[operator]
        assert isinstance(caught.value, speckv.Error) and caught.value.hint and caught.value.message
    cache = target.cache()
    with pytest.raises(speckv.ArgumentError, match="once in a pass"):
        target.forward([(cache, [1], 1), (cache, [2], 1)])
    target.prefill(cache, [1] * 512)
    with pytest.raises(speckv.ModelError) as full:
        target.prefill(cache, [1])
    assert "context" in full.value.hint


def test_token_arrays_of_every_whole_type_are_read(target):
    expected = target.forward([(target.cache(), [1, 2, 3], 1)])
    for kind in (np.int32, np.int64, np.uint32):
        tokens = np.array([1, 9, 2, 9, 3], kind)[::2]
        assert np.array_equal(target.forward([(target.cache(), tokens, 1)]), expected)
    assert np.array_equal(target.forward([(target.cache(), (1, 2, 3), 1)]), expected)


def test_a_sequence_follows_an_engine_whose_own_list_is_the_truth(draft):
    drafter = Drafter(draft)
    sequence = drafter.open(Controller("fixed:4"), [1, 2, 3, 4, 5])
    [proposal] = drafter.propose([sequence], 8)
    assert len(proposal) == 4 and sequence.proposed == proposal and sequence.under_way
    assert sequence.sync([1, 2, 3, 4, 5]) == 5 and sequence.under_way, (
        "the same text changes nothing"
    )
    assert sequence.sync([1, 2, 9, 4]) == 2 and not sequence.under_way
    [after] = drafter.propose([sequence], 4)
    fresh = drafter.open(Controller("fixed:4"), [1, 2, 9, 4])
    assert drafter.propose([fresh], 4) == [after]
    sequence.extend([7])
    assert len(sequence) == 5 and not sequence.under_way
    with pytest.raises(OrderError):
        sequence.observe(0, 1)


def test_state_is_given_back_on_close_on_exit_and_when_forgotten(draft):
    drafter = Drafter(draft)
    with drafter.open(Controller("fixed:2"), [1, 2]) as sequence:
        assert drafter.open_sequences == 1
    sequence.close()
    for call in (
        lambda: sequence.extend([1]),
        lambda: drafter.propose([sequence]),
        lambda: sequence.observe(0, 1),
    ):
        with pytest.raises(OrderError) as caught:
            call()
        assert "Drafter.open" in caught.value.hint
    forgotten = drafter.open(Controller("fixed:2"), [1])
    assert drafter.open_sequences == 1
    del forgotten
    gc.collect()
    assert drafter.open_sequences == 0


def test_what_does_not_belong_together_is_refused(draft):
    one, two = Drafter(draft), Drafter(draft)
    controller = Controller("fixed:2")
    sequence = one.open(controller, [1, 2])
    with pytest.raises(speckv.ArgumentError, match="of this drafter"):
        two.propose([sequence])
    with pytest.raises(speckv.ArgumentError, match="once"):
        one.propose([sequence, sequence])
    with pytest.raises(speckv.ArgumentError, match="of its own"):
        one.open(controller, [1])
    with pytest.raises(speckv.ArgumentError, match="gamma_limits"):
        one.propose([sequence], [1, 2])
    assert one.propose([one.open(Controller("fixed:2"))]) == [[]], "an empty text"


def test_limits_bind_and_end_tokens_end_a_draft(draft):
    drafter = Drafter(draft, lookup=False)
    sequences = [drafter.open(Controller("fixed:6"), [1, 2, 3]) for _ in range(3)]
    assert [len(proposal) for proposal in drafter.propose(sequences, [0, 2, 9])] == [0, 2, 6]
    [whole] = drafter.propose([sequences[2]], 6)
    ends = drafter.open(Controller("fixed:6"), [1, 2, 3], end_tokens=[whole[1]])
    [cut] = drafter.propose([ends], 6)
    assert cut == whole[: whole.index(whole[1]) + 1]
    record = ends.observe(len(cut), None)
    assert record.last == "accepted" and ends.tokens().tolist() == [1, 2, 3, *cut]


def test_costs_and_load_reach_the_controllers(draft):
    drafter = Drafter(draft, lookup=False)
    free, costly = (
        CostModel.from_curve([0.04, 0.0401], 1e-5),
        CostModel.from_curve([0.04, 0.12, 0.2], 0.04),
    )

    def drafted(**options: object) -> int:
        with drafter.open(Controller("expected-value"), [1, 2, 3]) as sequence:
            return len(drafter.propose([sequence], 8, **options)[0])  # type: ignore[arg-type]

    assert drafted(costs=free) > drafted(costs=costly) == 0
    steep = CostModel.from_curve([0.04 + 0.006 * row for row in range(17)], 0.002)
    assert drafted(costs=steep, rows=12, waiting=12) < drafted(costs=steep)


def test_the_models_time_and_tokens_are_counted_apart_from_those_of_look_up(draft):
    """One sequence drafts by the model while another looks up, in the same call."""
    drafter = Drafter(draft)
    model = drafter.open(Controller("fixed:4"), [100, 17, 3])
    lookup = drafter.open(Controller("chain+fixed:4"), [1, 2, 3, 4, 5, 6] * 3)
    proposals = drafter.propose([model, lookup], 4)
    assert [len(proposal) for proposal in proposals] == [4, 4]
    work = drafter.work
    assert (work.model_tokens, work.model_passes, work.lookup_tokens) == (4, 4, 4)
    assert work.model_seconds > work.lookup_seconds > 0.0 and work.controller_seconds > 0.0
    assert (work.catch_up_tokens, work.catch_up_seconds) == (0, 0.0)
    drafter.propose([lookup], 4)
    assert (drafter.work.model_tokens, drafter.work.model_seconds, drafter.work.lookup_tokens) == (
        0,
        0.0,
        4,
    )
    with pytest.raises(AttributeError):
        work.model_tokens = 3  # type: ignore[misc]


def test_what_the_model_missed_is_read_in_parts_and_drafted_when_it_is_read(draft):
    prompt = [(7 * place) % 250 + 1 for place in range(101)]
    whole, parts = (Drafter(draft, lookup=False) for _ in range(2))
    expected = whole.propose([whole.open(Controller("fixed:3"), prompt)], 3)
    assert whole.work.catch_up_tokens == 100 and whole.work.catch_up_seconds > 0.0
    first, second = (parts.open(Controller("fixed:3"), prompt) for _ in range(2))
    read, drafted = [], []
    for _ in range(8):
        proposals = parts.propose([first, second], 3, read_limit=32)
        read.append(parts.work.catch_up_tokens)
        drafted.append([len(proposal) for proposal in proposals])
        if drafted[-1] == [3, 3]:
            break
    assert 200 - 8 <= sum(read) <= 200 and max(read) <= 32, read
    assert drafted[:3] == [[0, 0]] * 3 and [3, 0] in drafted, (
        "the first is drafted for while the second is read"
    )
    assert proposals == expected * 2, "what was read in parts says the same"
    first.observe(3, 7)  # all accepted: its last token is still to be read
    third = parts.open(Controller("fixed:3"), prompt)
    [reading, drafting] = parts.propose([third, first], 3, read_limit=32)
    assert (reading, len(drafting)) == ([], 3), (
        "a draft that is a token behind need not wait for one that reads a prompt"
    )
    with pytest.raises(speckv.ArgumentError, match="read_limit"):
        parts.propose([first], 3, read_limit=4)


def test_look_up_in_one_text_knows_what_followed():
    text = NgramText([7, 1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3])
    found = text.lookup()
    assert found is not None and (found.match_length, found.available) == (3, 8)
    first = text.propose()
    assert first is not None and first[0] == 4 and first[1].match_length == 3
    second = text.propose([4])
    assert second is not None and second[0] == 9
    text.truncate(8)
    assert len(text) == 8 and text.propose() == speckv.NgramText([7, 1, 2, 3, 4, 9, 2, 3]).propose()
    assert NgramText([1, 2, 3]).lookup() is None and NgramText().propose() is None


def test_another_thread_runs_while_a_model_computes(tmp_path):
    """Prefill of some hundred tokens takes tens of milliseconds; a thread that wants a turn every
    half millisecond gets them inside the call.
    """
    model = CpuModel.load(tiny.write(tmp_path / "m", seed=1), threads=1)
    tokens = list(range(1, 250)) * 2
    turns: list[float] = []
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            turns.append(time.monotonic())
            time.sleep(0.0005)

    counter = threading.Thread(target=count)
    counter.start()
    inside = 0
    try:
        for _ in range(40):
            cache = model.cache()
            began = time.monotonic()
            model.forward([(cache, tokens, len(tokens))])
            ended = time.monotonic()
            inside += sum(
                began + 0.25 * (ended - began) < turn < ended - 0.25 * (ended - began)
                for turn in list(turns)
            )
            if inside >= 5:
                break
    finally:
        stop.set()
        counter.join()
    assert inside >= 5


def test_threads_share_a_model_and_a_drafter(target, draft):
    drafter = Drafter(draft)
    expected = {index: greedy(target, prompt, 24) for index, prompt in enumerate(PROMPTS)}
    failures: list[object] = []

    def work() -> None:
        try:
            outputs, _ = serve(drafter, target, "fixed:3", 24)
            if outputs != expected:
                failures.append(outputs)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and drafter.open_sequences == 0


def test_a_real_model_drafts_for_itself_and_stays_right(small_model: Path):
    """The draft is the target in other four bits: outputs equal plain decoding, and a good part of
    the tokens are accepted.
    """
    target = CpuModel.load(small_model, context=256)
    draft = CpuModel.load(small_model, context=256, compression="q4_0")
    prompt = target.tokenizer().encode(
        "The quick brown fox jumps over the lazy dog. The quick brown"
    )
    drafter, verifier = Drafter(draft), Verifier(target)
    sequence, text = drafter.open(Controller("speckv"), prompt), list(prompt)
    accepted = drafted = 0
    while len(text) < len(prompt) + 24:
        [proposal] = drafter.propose([sequence], len(prompt) + 24 - len(text) - 1)
        kept, token = verifier.verify({0: text}, {0: proposal})[0]
        record = sequence.observe(kept, token)
        assert record.plan.source in (Source.MODEL, Source.NGRAM)
        text += record.tokens
        accepted, drafted = accepted + kept, drafted + len(proposal)
    assert text[len(prompt) :] == greedy(target, prompt, 24)
    assert 3 * accepted > drafted > 0
