"""Cost models and the curve of foreign passes."""

from __future__ import annotations

import json
import random

import pytest

import speckv
from speckv import CostModel, PassCurve


def test_a_curve_comes_back_and_goes_on_with_its_slope():
    costs = CostModel.from_curve([0.040, 0.045, 0.050], 0.012, 0.003)
    assert costs.verify_seconds(2) == pytest.approx(0.045)
    assert costs.verify_seconds(20) == pytest.approx(0.040 + 0.005 * 19)
    assert costs.draft_seconds() == pytest.approx(0.012)
    assert costs.catch_up_seconds(4) == pytest.approx(0.012)
    assert costs.plain_seconds(100) == costs.verify_seconds(1, 100)


def test_json_is_that_of_the_command_line():
    costs = CostModel.from_json('{"verify_ms": [40, 41, 43], "draft_ms": 14, "catch_up_ms": 4}')
    assert costs.verify_seconds(3) == pytest.approx(0.043)
    again = CostModel.from_json(costs.to_json())
    assert again.verify_seconds(9) == pytest.approx(costs.verify_seconds(9))
    for wrong in ["", "{}", '{"verify_ms": []}', '{"verify_ms": [-1]}']:
        with pytest.raises(speckv.ArgumentError) as caught:
            CostModel.from_json(wrong)
        assert "verify_ms" in caught.value.hint


def test_measurements_that_are_none_are_refused():
    for verify in [[], [(2, 0, 0.1)], [(1, 0, 0.0)], [(1, 0, float("nan"))]]:
        with pytest.raises(speckv.ArgumentError):
            CostModel.from_samples(verify)


def test_passes_of_several_drafting_sequences_are_measured_like_the_targets():
    verify, draft = [(1, 0, 0.040), (5, 0, 0.044)], [(1, 0, 0.010)]
    measured = CostModel.from_samples(verify, draft, draft_passes=[(1, 0, 0.010), (4, 0, 0.016)])
    assert measured != CostModel.from_samples(verify, draft)
    assert "draft_rows" in measured.to_json()
    with pytest.raises(speckv.ArgumentError):
        CostModel.from_samples(verify, draft, draft_passes=[(4, 0, -1.0)])


def test_a_copy_does_not_learn_with_its_original():
    costs = CostModel.from_curve([0.04])
    copy = costs.copy()
    assert copy == costs
    for _ in range(50):
        costs.observe_pass(1, 0, 0.08)
    assert copy != costs and copy.plain_seconds() == pytest.approx(0.04)


def test_t_of_n_is_learned_from_passes_of_any_size_and_survives_stalls():
    draw = random.Random(4)
    curve = PassCurve()
    true = lambda tokens: 0.020 + 0.0002 * tokens  # noqa: E731
    for _ in range(3000):
        tokens = int(2 ** draw.uniform(0, 12))
        stall = 50.0 if draw.random() < 0.05 else 1.0
        curve.observe(tokens, true(tokens) * stall * draw.uniform(0.99, 1.01))
    for tokens in [1, 7, 16, 40, 200, 1000, 3000]:
        assert curve.seconds(tokens) == pytest.approx(true(tokens), rel=0.08), tokens
    costs = curve.costs(CostModel.from_curve([1.0], 0.005))
    for tokens in [1, 17, 100, 900]:
        assert costs.verify_seconds(tokens) == pytest.approx(curve.seconds(tokens), rel=0.02)
    assert costs.draft_seconds() == pytest.approx(0.005)
    assert curve.passes == 3000


def test_the_same_passes_make_the_same_curve_in_every_process():
    passes = [(1 + 7 * n % 50, 0.01 + 0.001 * (n % 5)) for n in range(200)]
    one, two = PassCurve(), PassCurve()
    for tokens, seconds in passes:
        one.observe(tokens, seconds)
    for tokens, seconds in passes:
        two.observe(tokens, seconds)
    assert one.to_json() == two.to_json() and one.costs() == two.costs()
    back = PassCurve.from_json(one.to_json())
    assert [point[2] for point in back.points()] == [point[2] for point in one.points()]
    assert back.seconds(33) == pytest.approx(one.seconds(33))
    with pytest.raises(speckv.ArgumentError):
        PassCurve.from_json(json.dumps({"prior": {}}))


def test_passes_that_are_none_teach_nothing():
    curve = PassCurve()
    before = curve.to_json()
    for tokens, seconds in [(0, 1.0), (3, 0.0), (3, -1.0), (3, float("nan")), (3, float("inf"))]:
        curve.observe(tokens, seconds)
    assert curve.to_json() == before and curve.passes == 0


def test_predictors_come_back_and_the_shipped_one_is_found_by_shape():
    target = speckv.ModelShape("qwen2", 28, 1536, 151_936)
    draft = speckv.ModelShape("qwen2", 24, 896, 151_936)
    shipped = speckv.Predictor.shipped(target, draft)
    assert shipped is not None and shipped != speckv.Predictor.prior()
    assert speckv.Predictor.shipped(draft, target) is None
    assert set(json.loads(shipped.to_json())["features"]) == set(speckv.Predictor.feature_names())
    with pytest.raises(speckv.ArgumentError) as caught:
        speckv.Predictor.from_json("{}")
    assert "speckv train" in caught.value.hint
    online = speckv.OnlinePredictor(shipped)
    first = online.begin(speckv.Source.MODEL, 100)
    low, high = (
        online.push(speckv.Signals(6.0, 0.1, 0.02)),
        online.push(speckv.Signals(0.1, 0.99, 0.98)),
    )
    assert 0 < first < 1 and low[0] < high[0]
