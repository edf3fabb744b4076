#!/usr/bin/env python3
"""Repeats the SpecKV paper's setting on a GPU: a target in FP16, INT8 and NF4, every gamma on every
prompt, one record per step.

    python paper_grid.py --target Qwen/Qwen2.5-1.5B-Instruct --draft Qwen/Qwen2.5-0.5B-Instruct
    --workload workloads --output grid speckv report --grid grid --output report

The draft is FP16 throughout. INT8 (LLM.int8()) and NF4 (with double quantization, computing in
FP16) are those of bitsandbytes. The records are those of `speckv profile --grid`
(docs/reference/steps.md). With `--controllers off,fixed:4,speckv` controllers are raced on the same
prompts too, and each compression gets an `evaluation-COMPRESSION.json` for `speckv report
--evaluation` and `speckv evaluate --saved`; their costs are measured first, on the first prompt.

A recording that was broken off goes on with the same command. With `--device cpu` everything runs
without a GPU, slowly: the draft is in float32 then, and what INT8 and NF4 stand for is computed in
float32 (bitsandbytes 0.50.2 quantizes on the CPU; its NF4 there takes rows of whole blocks of 64,
which models of the usual sizes have). So the tests check prompts, caches, records, resumption,
reports, and that quantized targets load and answer. What they cannot: bitsandbytes' kernels for
CUDA, FP16 on a GPU, and every number of seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import speckv
from speckv.recording import evaluate, model_facts, prompts_of, record_grid
from speckv.transformers import measure_costs

BITS = {"fp32": 16, "fp16": 16, "bf16": 16, "int8": 8, "nf4": 4}
"""Bits per weight; fp32 is for tests and counts as what is not compressed."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    numbers = lambda text: [int(part) for part in text.split(",")]  # noqa: E731
    names = lambda text: [part for part in text.split(",") if part]  # noqa: E731
    parser.add_argument("--target", required=True, help="folder or hub name")
    parser.add_argument("--draft", required=True, help="folder or hub name")
    parser.add_argument("--workload", required=True, type=Path, help="folder of *.jsonl files")
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        help="folder of the grid; an unfinished one is continued",
    )
    parser.add_argument(
        "--compressions",
        type=names,
        default=["fp16", "int8", "nf4"],
        help="of fp16, bf16, int8, nf4, fp32",
    )
    parser.add_argument(
        "--gammas", type=numbers, default=[0, 1, 2, 4, 6, 8], help="0 is plain decoding"
    )
    parser.add_argument(
        "--controllers", type=names, default=[], help="raced on the same prompts, `off` among them"
    )
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--split", choices=["train", "test", "all"], default="test")
    parser.add_argument("--prompts-per-task", type=int)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--device", default="cuda")
    return parser.parse_args()


def load(name: str, compression: str, device: str) -> Any:
    """A model as the paper stores it."""
    if compression not in BITS:
        raise speckv.ArgumentError(
            f"expected a compression of {', '.join(BITS)}, got {compression!r}", "see --help"
        )
    if compression in ("int8", "nf4"):
        try:
            import accelerate  # noqa: F401
            import bitsandbytes
            from transformers import BitsAndBytesConfig
        except ImportError as error:
            raise speckv.ModelError(
                f"{compression} needs bitsandbytes: {error}", "pip install bitsandbytes accelerate"
            ) from error
        compute = torch.float16 if device.startswith("cuda") else torch.float32
        quantized = (
            BitsAndBytesConfig(load_in_8bit=True)
            if compression == "int8"
            else BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=compute,
            )
        )
        try:
            return AutoModelForCausalLM.from_pretrained(
                name, quantization_config=quantized, dtype=compute, device_map=device
            ).eval()
        except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
            raise speckv.ModelError(
                f"{compression} of bitsandbytes {bitsandbytes.__version__} does not load on {device}: {error}",
                "on the CPU it takes bitsandbytes 0.50.2; --compressions fp32 --device cpu runs anywhere",
            ) from error
    kind = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[compression]
    return AutoModelForCausalLM.from_pretrained(name, dtype=kind).to(device).eval()


def folder_of(name: str) -> Path:
    """Where a model's files lie: the folder itself, or its snapshot in the hub's cache."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, local_files_only=True))


def machine(device: str) -> str:
    where = (
        torch.cuda.get_device_name(device)
        if device.startswith("cuda")
        else platform.processor() or platform.machine()
    )
    return f"{where}, torch {torch.__version__}, {platform.system().lower()} {platform.machine()}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    asked = arguments()
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        raise speckv.ModelError(
            "there is no GPU that PyTorch can use",
            "--device cpu --compressions fp32 tries the script without one",
        )
    tokenizer = AutoTokenizer.from_pretrained(asked.target)
    files = sorted(asked.workload.glob("*.jsonl"))
    prompts = prompts_of(files, tokenizer, split=asked.split, limit=asked.prompts_per_task)
    draft_compression = "fp16" if asked.device.startswith("cuda") else "fp32"
    draft = load(asked.draft, draft_compression, asked.device)
    draft_facts = model_facts(
        draft, Path(asked.draft).name, draft_compression, folder_of(asked.draft)
    )
    command = ["paper_grid.py", *sys.argv[1:]]
    grid: speckv.StepGrid | None = None
    target_facts: dict[str, Any] = {}
    for compression in asked.compressions:
        target = load(asked.target, compression, asked.device)
        if grid is None:
            target_facts = model_facts(
                target, Path(asked.target).name, "by row", folder_of(asked.target)
            )
            settings = {
                "target": target_facts, "draft": draft_facts, "draft_compression": draft_compression, "draft_head": None,
                "gammas": asked.gammas, "max_tokens": asked.max_tokens, "threads": torch.get_num_threads(), "seed": asked.seed,
            }  # fmt: skip
            asked.output.parent.mkdir(parents=True, exist_ok=True)
            grid = speckv.StepGrid(
                asked.output, settings, command=command, machine=machine(asked.device)
            )
        recorded = record_grid(
            grid,
            target,
            draft,
            prompts,
            compression=compression,
            gammas=asked.gammas,
            max_new_tokens=asked.max_tokens,
            seed=asked.seed,
            tokenizer=tokenizer,
            on_prompt=lambda name, now: say(
                f"{compression}: {name} {'recorded' if now else 'was there'}"
            ),  # noqa: B023
        )
        say(f"{compression}: {recorded} prompts recorded, {len(prompts) - recorded} were there")
        path = asked.output / f"evaluation-{compression}.json"
        if asked.controllers and not path.exists():
            costs = measure_costs(target, draft, prompts[0].tokens)
            say(f"{compression}: {costs!r}")
            text = evaluate(
                target,
                draft,
                prompts,
                controllers=asked.controllers,
                costs=costs,
                compression=1 - BITS[compression] / 16,
                max_new_tokens=asked.max_tokens,
                seed=asked.seed,
                split=asked.split,
                command=command,
                conditions={
                    "machine": machine(asked.device), "instruction_set": asked.device, "threads": torch.get_num_threads(),
                    "target": {key: target_facts[key] for key in ("name", "sha256")}, "compression": compression,
                    "draft": {key: draft_facts[key] for key in ("name", "sha256")}, "draft_compression": draft_compression,
                },
            )  # fmt: skip
            part = path.with_suffix(".part")
            part.write_text(text + "\n")
            os.replace(part, path)
            say(
                f"{compression}: controllers compared, {json.loads(text)['mismatches']} answers differ from plain decoding"
            )
        del target
        if asked.device.startswith("cuda"):
            torch.cuda.empty_cache()
    if grid is not None:
        say(f"{grid.assemble()} steps in {asked.output / 'steps.csv'}")


if __name__ == "__main__":
    try:
        main()
    except speckv.Error as error:
        sys.exit(f"error: {error}")
