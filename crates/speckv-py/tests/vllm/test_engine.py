"""The deciding rank without vLLM: batches made by hand, a clock set by hand."""

from types import SimpleNamespace as Names

import numpy as np
import pytest
import tiny

import speckv
from speckv._vllm_drafts import Drafts, DraftTimes
from speckv.vllm import MOST_FAILURES, Engine, Proposer, Settings, scheduled_tokens


class Machine:
    """A target that repeats a cycle of tokens, as vLLM would run it: t(n) = 10 ms + slope n."""

    def __init__(self, slope=1e-4, cap=8, spec="speckv", drafter=None, **drafts):
        self.now = 0.0
        self.slope = slope
        self.drafts_of = Drafts(
            drafter or speckv.Drafter(None, lookup=True), **({"caches": 16} | drafts)
        )
        self.engine = Engine(
            self.drafts_of,
            lambda: speckv.Controller(spec),
            cap=cap,
            max_length=4096,
            clock=lambda: self.now,
        )
        self.texts, self.drafts = [], []

    def start(self, *prompts):
        self.texts += [list(prompt) for prompt in prompts]
        self.drafts += [[] for _ in prompts]

    def truth(self, text):
        """What the target says next: the cycle 1..9, but texts that begin with 0 are noise."""
        if text[0] == 0:
            return (len(text) * 7919 + 13 * text[-1]) % 1000 + 50
        return text[-1] % 9 + 1

    def step(self, stall=0.0):
        scheduled = sum(1 + len(draft) for draft in self.drafts)
        self.now += 0.010 + self.slope * scheduled + stall
        sampled = []
        for text, draft in zip(self.texts, self.drafts):
            new = []
            while len(new) < len(draft) and self.truth(text + new) == draft[len(new)]:
                new.append(draft[len(new)])
            new.append(self.truth(text + new))
            text += new
            sampled.append(new)
        width = max(map(len, self.texts)) + 1
        tokens = np.zeros((len(self.texts), width), dtype=np.int32)
        for row, text in enumerate(self.texts):
            tokens[row, : len(text)] = text
        lengths = np.array([len(text) for text in self.texts], dtype=np.int32)
        self.drafts = self.engine.propose(sampled, lengths, tokens, scheduled)
        return self.drafts


def test_requests_in_one_step_get_different_gammas():
    machine = Machine()
    machine.start(list(range(1, 10)) * 4, [0, *range(500, 530)])
    for _ in range(60):
        drafts = machine.step()
    assert len(drafts[0]) > 0, "a text that repeats itself is drafted"
    assert drafts[1] == [], "noise is not"


def test_no_draft_is_longer_than_the_cap():
    machine = Machine(cap=3)
    machine.start(list(range(1, 10)) * 4)
    lengths = {len(machine.step()[0]) for _ in range(40)}
    assert max(lengths) == 3


def test_fixed_gammas_draft_what_they_say():
    machine = Machine(spec="fixed:4")
    machine.start(list(range(1, 10)) * 4)
    for _ in range(5):
        machine.step()
    assert len(machine.step()[0]) == 4


def test_where_rows_cost_as_much_as_passes_nothing_is_drafted():
    free, costly = Machine(slope=1e-6), Machine(slope=0.1)
    for machine in (free, costly):
        machine.start(
            *[
                [0, *range(500 + 40 * row, 530 + 40 * row), *list(range(1, 10)) * 3]
                for row in range(4)
            ]
        )
        for _ in range(80):
            machine.step()
    assert sum(map(len, costly.step())) <= sum(map(len, free.step()))
    assert costly.engine.curve.seconds(4) == pytest.approx(0.010 + 0.4, rel=0.1)


def test_a_pass_is_timed_by_its_tokens_and_a_stall_changes_nothing():
    machine = Machine(slope=1e-3)
    machine.start(list(range(1, 10)) * 4)
    for step in range(60):
        machine.step(stall=5.0 if step % 10 == 9 else 0.0)
    for tokens, seconds, _ in machine.engine.curve.points():
        assert seconds == pytest.approx(0.010 + 1e-3 * tokens, rel=0.2)


def test_the_first_pass_of_a_size_may_compile_and_drafting_goes_on():
    machine = Machine(slope=1e-6)
    machine.start(list(range(1, 10)) * 4)
    seen = set()
    for _ in range(40):
        rows = 1 + len(machine.drafts[0]) if machine.drafts else 1
        machine.step(stall=0.0 if rows in seen else 5.0)
        seen.add(rows)
    assert machine.engine.curve.seconds(9) < 0.02
    assert max(seen) > 4, "long drafts go on"


def test_a_pass_that_reads_a_prompt_teaches_nothing_about_decoding():
    machine = Machine()
    machine.start([1, 2, 3, 4])
    for _ in range(5):
        machine.step()
    passes = machine.engine.curve.passes
    machine.start([5, 6, 7, 8])
    machine.step(stall=2.0)
    assert machine.engine.curve.passes == passes
    for _ in range(8):
        machine.step()
    assert machine.engine.curve.passes > passes


def test_the_state_of_requests_that_end_is_given_back():
    machine = Machine()
    machine.start([1, 2, 3], [4, 5, 6], [7, 8, 9])
    for _ in range(5):
        machine.step()
    assert machine.drafts_of.open_sequences == 3
    del machine.texts[0], machine.drafts[0]
    machine.step()
    assert machine.drafts_of.open_sequences == 2
    machine.texts.clear()
    machine.drafts.clear()
    machine.engine.propose([], np.zeros(0, dtype=np.int32), np.zeros((0, 8), dtype=np.int32), 0)
    assert machine.drafts_of.open_sequences == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return speckv.CpuModel.load(tiny.write(tmp_path_factory.mktemp("draft"), seed=3), threads=1)


def test_a_prompt_is_read_in_parts_and_nothing_is_drafted_before_its_end(model):
    machine = Machine(spec="fixed:4", drafter=speckv.Drafter(model, lookup=False), read_limit=64)
    machine.start([9, *range(10, 210)], [9, *range(50, 80)])
    read, drafted = [], []
    for _ in range(6):
        drafts = machine.step()
        read.append(machine.engine.last["read_tokens"])
        drafted.append([len(draft) for draft in drafts])
    # 201 tokens of the first prompt, of which the last is read while drafting; then 31 of the
    # second.
    assert max(read) <= 64 and read[:3] == [64, 64, 64]
    assert drafted[:3] == [[0, 0]] * 3, "neither is caught up"
    assert drafted[-1] == [4, 4]
    assert (
        machine.engine.curve.passes > 0
        and machine.drafts_of.times.costs(machine.engine.curve) is not None
    )


def test_a_draft_token_of_the_model_costs_what_the_model_took_whatever_was_looked_up_beside_it():
    times, curve = DraftTimes(), speckv.PassCurve()
    assert times.costs(curve) is None
    work = {
        "model_passes": 4,
        "model_tokens": 4,
        "model_seconds": 0.020,
        "lookup_tokens": 400,
        "lookup_seconds": 1e-4,
    }
    times.observe(Names(**work, catch_up_tokens=0, catch_up_seconds=0.0))
    assert times.costs(curve).draft_seconds() == pytest.approx(0.005)
    times.observe(
        Names(
            **(work | {"model_passes": 0, "model_tokens": 0, "model_seconds": 0.0}),
            catch_up_tokens=0,
            catch_up_seconds=0.0,
        )
    )
    assert times.costs(curve).draft_seconds() == pytest.approx(0.005), (
        "look-up alone teaches nothing about the model"
    )


def test_a_pass_of_several_drafts_is_brought_to_one_of_one_by_the_curve():
    times, curve = DraftTimes(), speckv.PassCurve()
    for _ in range(15):
        curve.observe(1, 0.010)
        curve.observe(4, 0.020)
    times.observe(
        Names(
            model_passes=3,
            model_tokens=12,
            model_seconds=0.030,
            catch_up_tokens=0,
            catch_up_seconds=0.0,
        )
    )
    assert times.costs(curve).draft_seconds() == pytest.approx(
        0.005, rel=0.05
    )  # 10 ms a pass; t(4) / t(1) = 2


def test_what_a_token_costs_to_read_is_learned_from_long_readings():
    times, curve = DraftTimes(), speckv.PassCurve()
    for tokens, seconds in [(64, 0.064), (64, 0.064), (64, 5.0), (5, 0.5)]:
        times.observe(
            Names(
                model_passes=1,
                model_tokens=1,
                model_seconds=0.008,
                catch_up_tokens=tokens,
                catch_up_seconds=seconds,
            )
        )
    assert times.costs(curve).catch_up_seconds(1) == pytest.approx(0.001), (
        "neither the stall nor the short one counts"
    )


def test_only_so_many_requests_have_a_cache_and_the_rest_look_up(model):
    cycle = list(range(1, 10)) * 3
    machine = Machine(spec="chain+fixed:3", drafter=speckv.Drafter(model, lookup=True), caches=1)
    machine.start(cycle, [9, *cycle], [8, 9, *cycle])
    drafts = [machine.step() for _ in range(4)][-1]
    assert (machine.drafts_of.caches, machine.drafts_of.open_sequences) == (1, 3)
    assert all(drafts)
    del machine.texts[0], machine.drafts[0]
    machine.start([7, 8, 9, *cycle])
    machine.step()
    assert (machine.drafts_of.caches, machine.drafts_of.open_sequences) == (1, 3), (
        "the place that came free was taken"
    )


class Breaking:
    """A drafter that fails whenever a text with a certain beginning is in the call."""

    def __init__(self, drafter, first):
        self._drafter, self._first = drafter, first

    def __getattr__(self, name):
        return getattr(self._drafter, name)

    def propose(self, sequences, *arguments, **named):
        if any(sequence.tokens()[0] == self._first for sequence in sequences):
            raise speckv.ModelError("it broke", "mend it")
        return self._drafter.propose(sequences, *arguments, **named)


def test_a_request_whose_draft_fails_decodes_plainly_and_the_others_go_on(caplog):
    cycle = list(range(1, 10)) * 4
    machine = Machine(spec="fixed:3", drafter=Breaking(speckv.Drafter(None), 5))
    machine.start(cycle, cycle[4:])
    for _ in range(5):
        drafts = machine.step()
    assert [len(draft) for draft in drafts] == [3, 0]
    assert (machine.engine.failures, machine.drafts_of.open_sequences) == (1, 1)
    assert "it broke" in caplog.text
    machine.start(cycle[1:])
    machine.step()
    assert [len(draft) for draft in machine.step()] == [3, 0, 3]


def test_a_request_that_gets_no_cache_looks_up(model, caplog):
    class Full(Breaking):
        def open(self, *arguments):
            raise speckv.ModelError("no memory", "use a smaller model")

    machine = Machine(spec="fixed:3", drafter=Full(speckv.Drafter(model), None))
    machine.start(list(range(1, 10)) * 4)
    machine.step()
    assert (
        len(machine.step()[0]) == 3 and "no memory" in caplog.text and machine.engine.failures == 0
    )


def test_the_same_batches_and_times_give_the_same_drafts():
    machines = [Machine(), Machine()]
    for machine in machines:
        machine.start(list(range(1, 10)) * 3, [0, 3, 1, 4, 1, 5], [2, 3, 4] * 5)
    for step in range(50):
        stall = 0.003 * (step % 3)
        assert machines[0].step(stall) == machines[1].step(stall)


class Config:
    """As much of vLLM's configuration as a proposer reads."""

    def __init__(self, additional=None, cap=4):
        self.additional_config = {"speckv": {} if additional is None else additional}
        self.speculative_config = Names(num_speculative_tokens=cap)
        self.parallel_config = Names(tensor_parallel_size=1)
        text = Names(model_type="qwen2", num_hidden_layers=2, hidden_size=64)
        self.model_config = Names(max_model_len=128, hf_text_config=text, get_vocab_size=lambda: 64)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"drafts": "ngram"}, "drafts"),
        ({"threads": "two"}, "threads"),
        ({"lookup": 1}, "lookup"),
        ({"controller": "best"}, "best"),
        ({"read_limit": 3}, "at least 8"),
        ({"caches": -1}, "at least 0"),
        ("ngram", "settings by their names"),
        (None, None),
        ({"predictor": "nowhere/weights.json"}, "cannot read nowhere"),
        ({"predictor": str(tiny.__file__)}, "."),
        ({"record": "nowhere/steps.jsonl"}, "cannot write nowhere"),
        ({"draft": "nowhere/model.gguf"}, "nowhere"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_the_engine_starts(given, words):
    if words is None:
        Proposer(Config(given))
        return
    with pytest.raises(speckv.Error, match=words) as caught:
        Proposer(Config(given))
    assert caught.value.hint


def test_settings_are_read():
    assert Settings.of(Config({"controller": "fixed:2", "temperature": 1})).controller == "fixed:2"


def test_an_error_of_no_one_request_costs_a_step_and_only_many_turn_drafting_off(
    caplog,
):
    proposer = Proposer(Config({"controller": "fixed:2"}))
    text = np.array([[1, 2, 3, 1, 2, 3, 1, 0, 0, 0]], dtype=np.int32)
    good = lambda: proposer.propose([[1]], np.array([7]), text)  # noqa: E731
    bad = lambda: proposer.propose([[1]], np.array([-5]), "no array at all")  # noqa: E731
    assert [len(draft) for draft in good()] == [2]
    assert bad() == [[]]
    assert "this step decodes plainly" in caplog.text
    assert [len(draft) for draft in good()] == [2]
    for _ in range(MOST_FAILURES):
        assert bad() == [[]]
    assert "off from now on" in caplog.text
    assert good() == [[]]


def test_a_recording_that_cannot_go_on_stops_alone(tmp_path, caplog):
    record = tmp_path / "folder" / "steps.jsonl"
    record.parent.mkdir()
    proposer = Proposer(Config({"controller": "fixed:2", "record": str(record)}))
    text = np.array([[1, 2, 3, 1, 2, 3, 1, 0]], dtype=np.int32)
    proposer.propose([[1]], np.array([7]), text)
    record.unlink()
    record.parent.rmdir()
    assert [len(draft) for draft in proposer.propose([[1]], np.array([7]), text)] == [2]
    assert "stops recording" in caplog.text


def test_the_tokens_of_a_pass_are_read_off_the_slot_mappings():
    one = {"layer 0": np.zeros(7), "layer 1": np.zeros(7)}
    assert scheduled_tokens(one) == 7
    assert scheduled_tokens([one, {"layer 0": np.zeros(2)}]) == 9
    assert scheduled_tokens(None) is None and scheduled_tokens({}) is None
