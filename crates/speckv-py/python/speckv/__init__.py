"""Lossless speculative decoding that finds its own speculation length, for engines written in
Python.

`Controller` decides how far to draft, `Drafter` drafts for many sequences at once, `LocalModel`
runs a model on the CPU or a GPU, `read_signals` reads logits where they lie.
`speckv.transformers` and `speckv.vllm` are whole integrations. `_native.pyi` documents every class;
`docs/reference/python.md` the whole.
"""

from __future__ import annotations

from . import errors
from ._native import (
    Cache,
    Constraint,
    Controller,
    CostModel,
    Distribution,
    Drafter,
    DraftSequence,
    DraftWork,
    LocalModel,
    Lookup,
    ModelShape,
    NgramText,
    OnlinePredictor,
    PassCurve,
    Plan,
    Predictor,
    Randomness,
    Sampler,
    SharedPass,
    Signals,
    Source,
    StepGrid,
    StepRecord,
    Tokenizer,
    Trace,
    TraceFolder,
    Verdict,
    __version__,
    block_order,
    controllers,
    judge_evaluation,
    read_signals,
    read_signals_rows,
    replay,
    verify,
)
from .errors import ArgumentError, Error, FileError, ModelError, OrderError

CpuModel = LocalModel
"""The name of `LocalModel` before there were other devices."""

__all__ = [
    "ArgumentError",
    "Cache",
    "Constraint",
    "Controller",
    "CostModel",
    "CpuModel",
    "Distribution",
    "DraftSequence",
    "DraftWork",
    "Drafter",
    "Error",
    "FileError",
    "LocalModel",
    "Lookup",
    "ModelError",
    "ModelShape",
    "NgramText",
    "OnlinePredictor",
    "OrderError",
    "PassCurve",
    "Plan",
    "Predictor",
    "Randomness",
    "Sampler",
    "SharedPass",
    "Signals",
    "Source",
    "StepGrid",
    "StepRecord",
    "Tokenizer",
    "Trace",
    "TraceFolder",
    "Verdict",
    "__version__",
    "block_order",
    "controllers",
    "errors",
    "judge_evaluation",
    "read_signals",
    "read_signals_rows",
    "replay",
    "verify",
]
