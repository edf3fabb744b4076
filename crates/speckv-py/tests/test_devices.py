"""Models on other devices than the processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import speckv
import tiny


def test_a_model_is_on_the_processor_unless_another_device_is_named(tmp_path: Path) -> None:
    model = speckv.LocalModel.load(tiny.write(tmp_path, seed=3), threads=1)
    assert model.device == "cpu" and "device='cpu'" in repr(model)


@pytest.mark.parametrize("device", ["cuda", "gpu:", "cpu:0", ""])
def test_a_device_that_has_no_such_name_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(speckv.ArgumentError, match="expected auto, cpu, gpu or gpu:N"):
        speckv.LocalModel.load(tiny.write(tmp_path, seed=3), device=device)


def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(speckv.ModelError):
        speckv.LocalModel.load(tiny.write(tmp_path, seed=3), device="gpu:99")


def test_a_driver_without_a_display_writes_nothing_to_standard_error(tmp_path: Path) -> None:
    path = tiny.write(tmp_path, seed=3)
    program = "import sys, speckv; speckv.LocalModel.load(sys.argv[1], device='gpu:0')"
    environment = {key: value for key, value in os.environ.items() if key != "XDG_RUNTIME_DIR"}
    environment.pop("NODEVICE_SELECT", None)
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, env=environment
    )
    assert "XDG_RUNTIME_DIR" not in ended.stderr


def test_a_model_on_a_gpu_says_nearly_what_it_says_on_the_processor(tmp_path: Path) -> None:
    path = tiny.write(tmp_path, seed=3)
    cpu = speckv.LocalModel.load(path, threads=1)
    try:
        gpu = speckv.LocalModel.load(path, device="gpu:0")
    except speckv.ModelError as error:
        pytest.skip(f"no adapter: {error}")
    assert gpu.device == "gpu:0"
    tokens = list(range(40, 60))
    rows = [model.forward([(model.cache(), tokens, 20)]) for model in (cpu, gpu)]
    error = np.linalg.norm(rows[0] - rows[1]) / np.linalg.norm(rows[0])
    assert 0 < error < 0.03
    # A row has the same bits alone and among others.
    cache = gpu.cache()
    gpu.prefill(cache, tokens[:-1])
    alone = gpu.forward([(cache, tokens[-1:], 1)])
    assert np.array_equal(alone[0], rows[1][-1])
    best, signals = gpu.step([(gpu.cache(), tokens)])[0]
    assert best == int(alone[0].argmax()) and signals.confidence > 0
