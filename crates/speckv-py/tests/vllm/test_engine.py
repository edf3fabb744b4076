"""The deciding rank without vLLM: batches made by hand, a clock set by hand."""

import numpy as np
import pytest

import speckv
from speckv.vllm import Engine, Proposer, Settings, scheduled_tokens


class Machine:
    """A target that repeats a cycle of tokens, as vLLM would run it: t(n) = 10 ms + slope n."""

    def __init__(self, engine_options=(), slope=1e-4, cap=8, spec="speckv"):
        self.now = 0.0
        self.slope = slope
        self.engine = Engine(
            speckv.Drafter(None, lookup=True),
            lambda: speckv.Controller(spec),
            cap=cap,
            max_length=4096,
            clock=lambda: self.now,
            **dict(engine_options),
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
    free, dear = Machine(slope=1e-6), Machine(slope=0.1)
    for machine in (free, dear):
        machine.start(*[[0, *range(500 + 40 * row, 530 + 40 * row), *list(range(1, 10)) * 3] for row in range(4)])
        for _ in range(80):
            machine.step()
    assert sum(map(len, dear.step())) <= sum(map(len, free.step()))
    assert dear.engine.curve.seconds(4) == pytest.approx(0.010 + 0.4, rel=0.1)


def test_a_pass_is_timed_by_its_tokens_and_a_stall_changes_nothing():
    machine = Machine(slope=1e-3)
    machine.start(list(range(1, 10)) * 4)
    for step in range(60):
        machine.step(stall=5.0 if step % 10 == 9 else 0.0)
    for tokens, seconds, _ in machine.engine.curve.points():
        assert seconds == pytest.approx(0.010 + 1e-3 * tokens, rel=0.2)


def test_a_pass_that_reads_a_prompt_teaches_nothing_about_decoding():
    machine = Machine()
    machine.start([1, 2, 3, 4])
    for _ in range(5):
        machine.step()
    passes = machine.engine.curve.passes
    machine.start([5, 6, 7, 8])
    machine.step(stall=2.0)
    assert machine.engine.curve.passes == passes
    machine.step()
    assert machine.engine.curve.passes == passes + 1


def test_the_state_of_requests_that_end_is_given_back():
    machine = Machine()
    machine.start([1, 2, 3], [4, 5, 6], [7, 8, 9])
    for _ in range(5):
        machine.step()
    assert machine.engine.drafter.open_sequences == 3
    del machine.texts[0], machine.drafts[0]
    machine.step()
    assert machine.engine.drafter.open_sequences == 2
    machine.texts.clear()
    machine.drafts.clear()
    machine.engine.propose([], np.zeros(0, dtype=np.int32), np.zeros((0, 8), dtype=np.int32), 0)
    assert machine.engine.drafter.open_sequences == 0


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
        from types import SimpleNamespace as Names

        self.additional_config = {"speckv": additional or {}}
        self.speculative_config = Names(num_speculative_tokens=cap)
        self.parallel_config = Names(tensor_parallel_size=1)
        text = Names(model_type="qwen2", num_hidden_layers=2, hidden_size=64)
        self.model_config = Names(max_model_len=128, hf_text_config=text, get_vocab_size=lambda: 64)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"drafts": "ngram"}, "drafts"), ({"threads": "two"}, "threads"), ({"lookup": 1}, "lookup"), ({"controller": "best"}, "best")],
)
def test_settings_that_cannot_work_are_refused_when_the_engine_starts(given, words):
    with pytest.raises(speckv.Error, match=words):
        Proposer(Config(given))


def test_settings_are_read():
    assert Settings.of(Config({"controller": "fixed:2", "temperature": 1})).controller == "fixed:2"


def test_an_error_while_drafting_leaves_plain_decoding(caplog):
    proposer = Proposer(Config())
    assert proposer.propose([[1]], np.array([-5]), "no array at all") == [[]]
    assert "decodes plainly" in caplog.text
    tokens = np.ones((1, 16), dtype=np.int32)
    assert proposer.propose([[1]], np.array([8]), tokens) == [[]]


def test_the_tokens_of_a_pass_are_read_off_the_slot_mappings():
    one = {"layer 0": np.zeros(7), "layer 1": np.zeros(7)}
    assert scheduled_tokens(one) == 7
    assert scheduled_tokens([one, {"layer 0": np.zeros(2)}]) == 9
    assert scheduled_tokens(None) is None and scheduled_tokens({}) is None
