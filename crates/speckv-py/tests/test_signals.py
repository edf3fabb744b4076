"""Signals of logits: right, in place, and refused where they make no sense."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

import speckv


def by_definition(logits: np.ndarray) -> tuple[int, float, float, float]:
    x = logits.astype(np.float64)
    p = np.exp(x - x.max())
    p /= p.sum()
    ordered = np.sort(p)[::-1]
    entropy = -sum(q * math.log2(q) for q in p if q > 0)
    return int(x.argmax()), entropy, ordered[0], ordered[0] - ordered[1]


def test_signals_are_what_their_definitions_say():
    rng = np.random.default_rng(1)
    for size, scale in [(2, 1.0), (17, 3.0), (5000, 2.0), (151_936, 4.0)]:
        logits = (scale * rng.standard_normal(size)).astype(np.float32)
        token, signals = speckv.read_signals(logits)
        expected = by_definition(logits)
        assert token == expected[0]
        got = (signals.entropy_bits, signals.confidence, signals.margin)
        assert got == pytest.approx(expected[1:], abs=3e-5)
        assert signals.match_length == 0


def test_rows_are_read_alike_and_columns_may_be_cut():
    logits = np.random.default_rng(2).standard_normal((5, 300)).astype(np.float32)
    rows = speckv.read_signals_rows(logits)
    assert rows == [speckv.read_signals(row) for row in logits]
    cut = logits[:, :200]
    assert not cut.flags.c_contiguous
    assert speckv.read_signals_rows(cut) == [
        speckv.read_signals(np.ascontiguousarray(row)) for row in cut
    ]
    assert speckv.read_signals_rows(np.empty((0, 7), np.float32)) == []


def test_logits_are_not_copied():
    """A gigabyte of logits is read within a few megabytes: a copy would show as the peak of
    memory."""
    resource = pytest.importorskip("resource")
    logits = np.zeros(
        (1024, 256 * 1024), np.float32
    )  # zero pages: they take no memory until they are written
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    view = logits[:4]
    assert len(speckv.read_signals_rows(view)) == 4
    whole = logits.reshape(-1)
    assert speckv.read_signals(whole)[1].entropy_bits == pytest.approx(28.0)
    # Reading zero pages maps one shared page; a copy would be a gigabyte of its own.
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < logits.nbytes // 2
    assert logits.flags.writeable and not logits.any()


@pytest.mark.parametrize(
    "logits",
    [
        np.zeros(4, np.float64),
        np.zeros(4, np.float16),
        np.zeros((2, 2), np.float32),
        np.zeros(8, np.float32)[::2],
        [0.0, 1.0],
        None,
    ],
)
def test_another_type_shape_or_layout_is_refused_with_a_hint(logits):
    with pytest.raises(speckv.ArgumentError, match="expected") as caught:
        speckv.read_signals(logits)
    assert "ascontiguousarray" in caught.value.hint
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, speckv.Error)


@pytest.mark.parametrize(
    "logits", [[], [float("nan"), 0.0], [float("inf"), 0.0], [-float("inf")] * 3]
)
def test_logits_that_make_no_token_are_refused(logits):
    with pytest.raises(speckv.ArgumentError):
        speckv.read_signals(np.array(logits, np.float32))


def test_a_read_only_array_is_read():
    logits = np.arange(5, dtype=np.float32)
    logits.flags.writeable = False
    assert speckv.read_signals(logits)[0] == 4


def test_no_other_thread_runs_while_logits_are_read():
    """Another thread could write to the array or resize it. It counts while one thread reads for
    some 0.1 s, and gets no turn before the call has ended.
    """
    logits = np.zeros(100_000_000, np.float32)
    turns: list[float] = []
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            turns.append(time.monotonic())
            time.sleep(0.0005)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        began = time.monotonic()
        speckv.read_signals(logits)
        ended = time.monotonic()
    finally:
        stop.set()
        counter.join()
    inside = [
        turn
        for turn in turns
        if began + 0.1 * (ended - began) < turn < ended - 0.1 * (ended - began)
    ]
    assert not inside, f"{len(inside)} turns in {ended - began:.3f} s"
