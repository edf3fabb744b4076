"""What the tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def binary() -> Path:
    """The command line, to compare with: named by SPECKV_BIN, or on the PATH."""
    path = os.environ.get("SPECKV_BIN") or shutil.which("speckv")
    if path is None:
        pytest.skip("no speckv binary: set SPECKV_BIN")
    return Path(path)


@pytest.fixture(scope="session")
def small_model() -> Path:
    """SmolLM2 135M: in SPECKV_MODELS, else in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("SPECKV_MODELS") or cache / "speckv" / "models")
    path = folder / "smollm2-135m.gguf"
    if not path.exists():
        pytest.skip(f"no model {path.name}: `speckv pull smollm2-135m`, or set SPECKV_MODELS")
    return path


@pytest.fixture(scope="session")
def run(binary: Path):
    """Runs the command line and returns what it printed."""

    def call(*arguments: object) -> str:
        done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call
