#!/usr/bin/env python3
"""SpecKV and llama-server on the same files and prompts, in turns. See README.md."""

import argparse
import functools
import json
import os
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

import machine
import settings
import summary
import table
import workload
from llama_server import LlamaServer, ServerFailed
from speckv_run import RunFailed, SpeckvRun

ROOT = Path(__file__).resolve().parents[2]


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="target, a GGUF file")
    parser.add_argument("--draft", required=True, help="draft, a GGUF file")
    parser.add_argument("--output", type=Path, help="JSON file for all samples and the summary")
    parser.add_argument(
        "--workloads",
        type=Path,
        default=ROOT / "crates/speckv-lab/workloads",
        help="folder of prompts [%(default)s]",
    )
    parser.add_argument("--tasks", help="only these tasks, such as code,math")
    parser.add_argument(
        "--prompts-per-task",
        type=int,
        default=2,
        metavar="K",
        help="of the test split [%(default)s]",
    )
    parser.add_argument(
        "--max-tokens", type=int, default=128, metavar="N", help="of an answer [%(default)s]"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        metavar="N",
        help="every setting runs once in each [%(default)s]",
    )
    parser.add_argument(
        "--llama", metavar="LIST", help=f"settings of llama-server: {settings.LLAMA_NAMES} [all]"
    )
    parser.add_argument(
        "--speckv",
        metavar="LIST",
        help=f"settings of speckv: {settings.SPECKV_NAMES} [off, speckv, fixed-1 to -8, ngram/fixed-4]",
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), metavar="N", help="of both [%(default)s]"
    )
    parser.add_argument(
        "--context", type=int, default=2048, metavar="N", help="of both [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the settings' order [%(default)s]")
    parser.add_argument(
        "--start-limit",
        type=float,
        default=180,
        metavar="S",
        help="seconds to load a model [%(default)s]",
    )
    parser.add_argument(
        "--answer-limit",
        type=float,
        default=600,
        metavar="S",
        help="seconds for an answer [%(default)s]",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="2 prompts, 3 settings, 1 round, short answers: does it work at all?",
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.max_tokens, options.prompts_per_task = 1, 24, 1
        options.tasks = options.tasks or "code,math"
    if min(options.rounds, options.prompts_per_task, options.max_tokens) < 1:
        parser.error("rounds, prompts and tokens must be at least 1")
    quick = options.quick
    llama = (
        options.llama
        if options.llama is not None
        else ",".join(settings.LLAMA_QUICK if quick else settings.LLAMA_ALL)
    )
    speckv = (
        options.speckv
        if options.speckv is not None
        else ",".join(settings.SPECKV_QUICK if quick else settings.SPECKV_ALL)
    )
    try:
        options.settings = settings.parse("llama", llama) + settings.parse("speckv", speckv)
    except settings.UnknownSetting as error:
        parser.error(str(error))
    if not options.settings:
        parser.error("no setting is left to measure")
    for file in (options.model, options.draft):
        if not Path(file).is_file():
            parser.error(f"{file} is no file")
    return options


def program(variable, default, purpose):
    """A program's path from the environment, or the default."""
    path = os.environ.get(variable) or default
    if not path or not os.access(path, os.X_OK):
        sys.exit(
            f"error: {purpose} is not at {path!r}\nhint: set {variable} to its path; README.md says how to build it"
        )
    return str(path)


def programs(options):
    """The binaries that the settings need."""
    engines = {settings.engine_of(setting) for setting in options.settings}
    found = {}
    if "llama" in engines:
        found["llama"] = program("LLAMA_SERVER", None, "llama-server")
    if "speckv" in engines:
        found["speckv"] = program(
            "SPECKV", ROOT / "target/release/speckv", "the release build of speckv"
        )
    return found


def measure(options, prompts, binaries, say, keep):
    """Rounds of settings in a new order each time; a setting's prompts run in one block, since its
    flags are those of a process.

    `keep(samples, turns)` gets all samples and turns so far after each round; a turn is when a
    setting's block began. Samples come in
    the order of the settings as given."""
    engines = {"llama": LlamaServer, "speckv": SpeckvRun}
    order = random.Random(options.seed)
    samples, turns = [], []
    quiet = machine.Quiet(say)
    start = time.monotonic()
    for round_number in range(options.rounds):
        for place, setting in enumerate(order.sample(options.settings, len(options.settings))):
            state = quiet.before(setting)
            turns.append(
                {
                    "round": round_number,
                    "setting": setting,
                    "start_seconds": round(time.monotonic() - start, 1),
                    **state,
                }
            )
            engine = settings.engine_of(setting)
            with engines[engine](binaries[engine], setting, options) as runner:
                runner.warm_up()
                block = [runner.answer(prompt, round_number) for prompt in prompts]
            samples += block
            speed = summary.spread(s.tokens_per_second for s in block)
            done = f"round {round_number + 1} of {options.rounds}, setting {place + 1} of {len(options.settings)}"
            say(f"{done}: {setting} {speed.text()} tokens/s")
        samples.sort(key=lambda s: (options.settings.index(s.setting), s.round))
        keep(samples, turns)
    return samples


def report(samples):
    """The printed result: a table for all tasks and one for each."""
    parts = []
    for name, rows in summary.by_task(samples, settings.PLAIN).items():
        parts.append(
            f"{name}: best setting of llama {summary.best_setting(part_of(samples, name), 'llama')}\n{table.of_rows(rows)}"
        )
    for setting, (differing, count) in summary.texts_unlike_plain(samples, settings.PLAIN).items():
        if differing:
            parts.append(
                f"{setting}: {differing} of {count} answers differ from the first plain one"
            )
    return "\n\n".join(parts)


def part_of(samples, task):
    return samples if task == "all tasks" else [s for s in samples if s.task == task]


def result(options, binaries, prompts, samples, turns):
    """Everything, for JSON."""
    tables = summary.by_task(samples, settings.PLAIN)
    return {
        "command": sys.argv,
        "machine": machine.describe(binaries),
        "options": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(options).items()
        },
        "prompts": [prompt.id for prompt in prompts],
        "best_llama_setting": {
            task: summary.best_setting(part_of(samples, task), "llama") for task in tables
        },
        "summary": {task: [row.as_json() for row in rows] for task, rows in tables.items()},
        "texts_unlike_plain": summary.texts_unlike_plain(samples, settings.PLAIN),
        "prompt_disagreements": summary.prompt_disagreements(samples),
        "turns": turns,
        "samples": [asdict(sample) for sample in samples],
    }


def write(options, binaries, prompts, samples, turns):
    """Writes the result so far, so that a failure late in a long run loses one round at most."""
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result(options, binaries, prompts, samples, turns), indent=1)
        options.output.write_text(text + "\n", encoding="utf-8")


def main():
    options = parse_arguments()
    binaries = programs(options)
    tasks = options.tasks.split(",") if options.tasks else None
    try:
        prompts = workload.load(options.workloads, options.prompts_per_task, tasks=tasks)
        keep = functools.partial(write, options, binaries, prompts)
        samples = measure(
            options, prompts, binaries, lambda text: print(text, file=sys.stderr, flush=True), keep
        )
    except (ServerFailed, RunFailed, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    print(report(samples))
    if disagreements := summary.prompt_disagreements(samples):
        sys.exit(
            f"error: engines disagree on the number of tokens of {len(disagreements)} prompts: {disagreements}"
        )


if __name__ == "__main__":
    main()
