"""Prompts of the repository's workloads."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Prompt:
    """One question."""

    id: str
    task: str
    system: str | None
    text: str


def load(folder, per_task, split="test", tasks=None):
    """The first `per_task` prompts of `split` of every task, tasks in order of their names."""
    files = sorted(Path(folder).glob("*.jsonl"))
    if tasks:
        files = [file for file in files if file.stem in tasks]
    prompts = []
    for file in files:
        with open(file, encoding="utf-8") as lines:
            entries = [json.loads(line) for line in lines if line.strip()]
        chosen = [entry for entry in entries if entry["split"] == split][:per_task]
        prompts += [Prompt(e["id"], e["task"], e.get("system"), e["prompt"]) for e in chosen]
    if not prompts:
        raise FileNotFoundError(f"no prompts of the {split} split in {folder}/*.jsonl")
    return prompts
