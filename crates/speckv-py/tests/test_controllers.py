"""Controllers behave as in Rust: driven from Python they take the very steps of a replay and of the
command line.
"""

from __future__ import annotations

import json
import threading

import pytest
import tiny

import speckv
from speckv import (
    Controller,
    CostModel,
    Lookup,
    OrderError,
    SharedPass,
    Signals,
    Source,
    Trace,
    Verdict,
)

NAMES = [name for name, _, _ in speckv.controllers()]
ALL = [
    *NAMES,
    "fixed:2",
    "confidence:0.6",
    "entropy:adaedl",
    "entropy:svip:0.3",
    "chain+speckv",
    "chain+fixed:3",
]
COSTS = CostModel.from_curve([0.040, 0.0405, 0.042, 0.046, 0.048], 0.008, 0.001)


def sure(confidence: float) -> Signals:
    return Signals(4 * (1 - confidence), confidence, max(2 * confidence - 1, 0.0))


def drive(controller: Controller, trace: Trace, costs: CostModel) -> list[speckv.StepRecord]:
    """A replay written in Python, on the public interface alone."""
    records = []
    done, read = 0, trace.prompt_tokens - 1  # the draft has read the prompt
    while done < len(trace):
        context = trace.prompt_tokens + done
        limit = min(trace.max_tokens - done - 1, 16)
        behind = max(context - 1 - read, 0) if trace.has_model else 0
        plan = controller.plan(
            context,
            gamma_limit=limit,
            remaining=trace.max_tokens - done,
            has_model=trace.has_model,
            draft_behind=behind,
            lookup=trace.lookup(done),
        )
        proposed, agreed = trace.proposal(done, plan.source)
        ends = set(trace.end_tokens)
        drafted = 0
        for token, signals in proposed:
            if not controller.wants_more:
                break
            controller.judge(token, signals, ends=token in ends)
            drafted += 1
        accepted = min(agreed, controller.kept)
        left = len(trace) - done
        token = trace.tokens[done + accepted] if accepted < left else None
        per_token = costs.draft_seconds(context) if plan.source == Source.MODEL else 2e-6
        reads = plan.source == Source.MODEL and drafted > 0
        record = controller.observe(
            accepted,
            token,
            catch_up_seconds=costs.catch_up_seconds(behind) if reads else 0.0,
            draft_seconds=per_token * drafted,
            verify_seconds=costs.verify_seconds(controller.kept + 1, context),
        )
        if reads:
            read = min(context + drafted - 1, context + accepted)
        done += len(record.tokens)
        records.append(record)
    return records


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("lookup", [(0.0, 0.0), (0.5, 0.9)])
def test_driven_from_python_a_controller_takes_the_steps_of_the_replay_in_rust(name, lookup):
    trace = Trace.synthetic(400, 1.0, lookup=lookup, seed=5)
    mine = drive(Controller(name, costs=COSTS), trace, COSTS)
    theirs = speckv.replay(Controller(name, costs=COSTS), trace, COSTS)
    assert len(mine) == len(theirs)
    for ours, rust in zip(mine, theirs):
        assert (ours.plan, ours.drafted, ours.accepted, ours.tokens) == (
            rust.plan,
            rust.drafted,
            rust.accepted,
            rust.tokens,
        )
        assert (
            ours.verified == rust.verified
            and ours.last == rust.last
            and ours.censored == rust.censored
        )
        assert ours.total_seconds == pytest.approx(rust.total_seconds, abs=1e-8)
    assert [token for record in mine for token in record.tokens] == trace.tokens


def test_a_replay_of_recorded_traces_says_what_the_command_line_says(run, tmp_path):
    """The groups of `speckv replay --json`, number for number, and their steps summed up in
    Python."""
    target, draft = (
        tiny.write(tmp_path / "target", seed=3),
        tiny.write(tmp_path / "draft", seed=3, noise=0.15),
    )
    prompts = [
        {"id": f"code-0{n}", "task": "code", "split": "test", "prompt": f"Say {n} {n} {n} {n}."}
        for n in range(1, 4)
    ]
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "code.jsonl").write_text(
        "\n".join(json.dumps(prompt) for prompt in prompts)
    )
    costs = {"verify_ms": [40, 41, 43, 47], "draft_ms": 9, "catch_up_ms": 2}
    (tmp_path / "costs.json").write_text(json.dumps(costs))
    run(
        "profile", "--trace", tmp_path / "trace", "--model", target, "--draft", draft, "--workload", tmp_path / "work",
        "--cost", tmp_path / "costs.json", "--max-tokens", 40, "--split", "all", "--threads", 1,
    )  # fmt: skip
    names = ["off", "fixed:3", "speckv", "chain+speckv", "expected-value", "confidence:0.3"]
    said = json.loads(
        run("replay", "--trace", tmp_path / "trace", "--controllers", ",".join(names), "--json")
    )
    folder = speckv.TraceFolder(tmp_path / "trace")
    assert len(folder) == 3 and folder.costs is not None and folder.settings["max_tokens"] == 40
    assert folder.compare(names) == said["groups"]
    for name, row in zip(names, said["groups"][0]["controllers"]):
        tokens = seconds = 0.0
        for trace in folder:
            controller = Controller(
                name,
                costs=folder.costs,
                predictor=folder.predictor(),
                compression=folder.compression,
            )
            for record in speckv.replay(controller, trace, folder.costs):
                tokens += len(record.tokens)
                seconds += record.total_seconds
        assert row["modelled_tokens_per_second"] == pytest.approx(tokens / seconds), name


def test_every_name_of_the_command_line_is_known_and_others_are_refused_in_its_words(binary, run):
    help_text = run("run", "--help")
    for name, parameter, purpose in speckv.controllers():
        assert name + parameter in help_text and purpose.split(" (")[0][:40] in " ".join(
            help_text.split()
        )
        assert Controller(name).name.startswith(name)
    for wrong in ["", "fast", "fixed:0", "fixed:65", "chain+off", "speckv:3"]:
        with pytest.raises(speckv.ArgumentError) as caught:
            Controller(wrong)
        assert caught.value.hint.startswith("the controllers are off, fixed")
        assert str(caught.value).endswith("hint: " + caught.value.hint)


def test_calls_out_of_order_are_refused_and_change_nothing():
    controller = Controller("fixed:2")
    with pytest.raises(OrderError, match="step under way"):
        controller.observe(0, 1)
    with pytest.raises(OrderError):
        controller.judge(1, sure(0.9))
    plan = controller.plan(10, has_model=True)
    assert (plan.gamma, plan.source) == (2, Source.MODEL)
    with pytest.raises(OrderError) as caught:
        controller.plan(10)
    assert "abandon" in caught.value.hint
    assert controller.judge(7, sure(0.9)) == Verdict.CONTINUE
    assert controller.judge(8, sure(0.9)) is not None
    assert not controller.wants_more and controller.kept_tokens == [7, 8]
    with pytest.raises(OrderError):
        controller.judge(9, sure(0.9))
    with pytest.raises(speckv.ArgumentError, match="accepted <= verified <= kept"):
        controller.observe(3, 9)
    with pytest.raises(speckv.ArgumentError, match="after 0 accepted"):
        controller.observe(0, None)
    record = controller.observe(1, 9)
    assert (record.tokens, record.last, record.verified, controller.steps) == (
        [7, 9],
        "recovered",
        2,
        1,
    )
    assert [record.label(position) for position in range(3)] == [True, False, None]
    controller.plan(12, has_model=True)
    controller.abandon()
    assert controller.steps == 1 and not controller.wants_more


def test_an_end_token_ends_the_step_and_censors_it():
    controller = Controller("fixed:4")
    controller.plan(5, has_model=True)
    controller.judge(1, sure(0.9), ends=True)
    assert not controller.wants_more
    record = controller.observe(1, None)
    assert record.last == "accepted" and record.censored and record.tokens == [1]


def test_tokens_that_a_constraint_forces_are_in_the_record_and_not_in_the_draft():
    controller = Controller("fixed:3", costs=COSTS)
    assert controller.takes_forced and not Controller("off").takes_forced
    with pytest.raises(OrderError, match="plan"):
        controller.force(1)
    controller.plan(10, has_model=True)
    controller.force(70)  # before the draft
    for token in (1, 2, 3):
        controller.judge(token, sure(0.9))
        if token == 1:
            controller.force(71)
    record = controller.observe(2, 9, forced_after=[72, 73], forced_rows=2)
    assert record.tokens == [70, 1, 71, 2, 9, 72, 73]
    assert record.forced == [0, 2, 5, 6] and record.forced_rows == 2
    assert [token for token, _ in record.drafted] == [1, 2, 3] and record.accepted == 2
    controller.plan(17, has_model=True)
    for token in (4, 5, 6):
        controller.judge(token, sure(0.9))
    assert controller.observe(3, 8).forced == []


def test_load_makes_it_draft_less():
    def drafted(shared: SharedPass | None) -> int:
        controller = Controller(
            "speckv", costs=CostModel.from_curve([0.04 + 0.004 * row for row in range(17)], 0.004)
        )
        total = 0
        for _ in range(30):
            controller.plan(100, has_model=True, gamma_limit=16, shared=shared)
            while controller.wants_more:
                controller.judge(1, sure(0.7))
            total += controller.kept
            controller.observe(min(1, controller.kept), 2)
        return total

    assert 0 <= drafted(SharedPass(8, 8, 8, 7)) < drafted(None)


def test_costs_can_be_replaced_and_change_what_is_decided():
    free, costly = (
        CostModel.from_curve([0.04, 0.04001], 1e-6),
        CostModel.from_curve([0.04, 0.08, 0.12], 0.04),
    )

    def gamma(controller: Controller) -> int:
        plan = controller.plan(50, has_model=True)
        controller.abandon()
        return plan.gamma

    controller = Controller("expected-value", costs=free)
    assert gamma(controller) > 0
    controller.set_costs(costly)
    assert gamma(controller) == 0
    controller.set_costs(free)
    assert gamma(controller) > 0


def test_lookup_is_taken_where_the_controller_may():
    found = Lookup(6, 9, Signals(0.0, 1.0, 1.0, 6))
    for drafting, source in [(None, Source.NGRAM), ("model", Source.MODEL), ("both", Source.NGRAM)]:
        controller = Controller("chain+fixed:3", drafting=drafting)
        assert controller.plan(40, has_model=True, lookup=found).source == source
    with pytest.raises(speckv.ArgumentError):
        Controller(drafting="unknown")


@pytest.mark.parametrize(
    "options",
    [{"temperature": -1.0}, {"temperature": float("nan")}, {"compression": 1.5}, {"gamma": 65}],
)
def test_options_outside_their_range_are_named(options):
    with pytest.raises(speckv.ArgumentError, match=next(iter(options))):
        Controller(**options)


@pytest.mark.parametrize(
    ("spec", "gamma"), [("ema", 4), ("paper", 4), ("off", 4), ("fixed:3", 4), ("speckv", 0)]
)
def test_a_gamma_that_a_controller_cannot_have_is_refused(spec, gamma):
    with pytest.raises(speckv.ArgumentError, match="gamma"):
        Controller(spec, gamma=gamma)


@pytest.mark.parametrize("gamma", [1, 17, 40, 64])
def test_a_gamma_up_to_the_limit_is_drafted(gamma):
    controller = Controller("fixed", gamma=gamma)
    assert controller.plan(100, has_model=True).gamma == gamma


def test_a_draft_far_behind_reads_in_parts_and_a_near_one_with_its_first_token():
    controller = Controller("fixed:3")
    controller.plan(500, has_model=True, draft_behind=400)
    assert (controller.read_ahead(64), controller.wants_more) == (64, False)
    controller.abandon()
    controller.plan(500, has_model=True, draft_behind=2)
    assert (controller.read_ahead(64), controller.wants_more) == (0, True)


def test_a_used_controller_is_not_replayed_and_missing_weights_are_a_file_error(tmp_path):
    trace = Trace.synthetic(20)
    controller = Controller("fixed:2")
    speckv.replay(controller, trace)
    controller.plan(3, has_model=True)
    with pytest.raises(OrderError):
        speckv.replay(controller, trace)
    with pytest.raises(speckv.FileError) as caught:
        Controller("paper", paper_weights=tmp_path / "none.npz")
    assert caught.value.hint


def test_many_threads_each_with_its_controller_take_the_steps_of_one():
    trace = Trace.synthetic(300, 0.8, seed=9)
    expected = [
        record.tokens for record in speckv.replay(Controller("speckv", costs=COSTS), trace, COSTS)
    ]
    results: list[list[list[int]]] = []

    def work() -> None:
        for _ in range(5):
            results.append(
                [record.tokens for record in drive(Controller("speckv", costs=COSTS), trace, COSTS)]
            )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20 and all(result == expected for result in results)
