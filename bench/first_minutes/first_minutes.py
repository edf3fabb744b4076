#!/usr/bin/env python3
"""What a new user gets: each model, given as a file, with what `speckv run` chooses for it.

Two questions per model, both answered by `speckv bench`, which lets the settings take turns:
- `speckv` against `off` on the editing prompts, with the draft that `speckv run` finds;
- look-up alone against `off` on all tasks, where it must cost next to nothing.

Writes JSON and prints a table. Ends with status 1 if a ratio is below its bound."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EDITING_BOUND = 1.3
LOOKUP_BOUND = 0.98
# Prompts of the editing task in the test split, and tasks of the built-in workload.
EDITING_PROMPTS = 8
TASKS = 5
# With fewer prompts there is no interval.
FEWEST_PROMPTS = 6
LENGTHS = (128, 64, 32)
# Share of a question's time that its answers may take; the rest is loading and measuring costs.
ANSWERS_SHARE = 0.7
# Tokens of a prompt cost about a fifth of generated ones, and a prompt has about 250.
PROMPT_AS_TOKENS = 50
GRACE_SECONDS = 60


class Failed(RuntimeError):
    """A command of speckv's failed."""


def main(arguments=None):
    options = parse(arguments)
    models = options.models or installed(options.speckv)
    if not models:
        sys.exit(
            "error: no model is at hand\nhint: `speckv pull NAME` fetches one, or give --model FILE"
        )
    with tempfile.TemporaryDirectory() as cache:
        environment = fresh(options.speckv, cache)
        rows, share = [], 60 * options.minutes / (2 * len(models))
        for model in models:
            rows += measured(options, model, share, environment)
            # What is there already is of use if the rest takes too long.
            write(options, rows)
    print(table(rows))
    return 1 if any(row["holds"] == "no" for row in rows) else 0


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speckv", default="speckv", help="the program [default: %(default)s]")
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        metavar="FILE",
        help="a model; may be given several times [default: those that `speckv models` has]",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10,
        help="time for everything together [default: %(default)s]",
    )
    parser.add_argument(
        "--output", default="first_minutes.json", help="file for the JSON [default: %(default)s]"
    )
    return parser.parse_args(arguments)


def installed(speckv):
    """Files of the catalogue's models that are here."""
    known = json.loads(said([speckv, "models", "--json"], None))
    return [model["path"] for model in known["models"] if model["state"] == "ready"]


def fresh(speckv, cache):
    """The environment of a new user: the models are here, nothing has been measured."""
    folder = json.loads(said([speckv, "models", "--json"], None))["folder"]
    return {**os.environ, "SPECKV_MODELS": folder, "XDG_CACHE_HOME": cache}


def measured(options, model, share, environment):
    """The rows of one model."""
    run = [options.speckv, "run", "-m", model, "-n", "48", "--json", "--controller"]
    question = "Name the planets of the solar system, one a line."
    # Twice: the system then holds the file in memory.
    for _ in range(2):
        plain = json.loads(said([*run, "off", question], environment))
    chosen = subprocess.run(
        [*run, "speckv", question], capture_output=True, text=True, env=environment, check=False
    )
    if chosen.returncode != 0:
        raise Failed(chosen.stderr.strip())
    line = next(
        (line for line in chosen.stderr.splitlines() if line.startswith("drafting: ")), None
    )
    draft = json.loads(chosen.stdout)["draft"]
    speed = plain["stats"]["tokens_per_second"]
    common = {"model": Path(model).name, "drafting": line, "plain_tokens_per_second": speed}
    prompts, tokens = plan(share, speed, 1, EDITING_PROMPTS)
    editing = bench(
        options,
        model,
        draft or "ngram",
        ["--tasks", "editing"],
        prompts,
        tokens,
        share,
        environment,
    )
    per_task, tokens = plan(share, speed, TASKS, EDITING_PROMPTS)
    whole = bench(options, model, "ngram", [], per_task, tokens, share, environment)
    return [
        {**common, "workload": "editing", "draft": draft, **result(editing, EDITING_BOUND)},
        {**common, "workload": "all tasks", "draft": "ngram", **result(whole, LOOKUP_BOUND)},
    ]


def plan(seconds, speed, tasks, most):
    """Prompts per task and tokens per answer that two settings finish in so many seconds."""
    for tokens in LENGTHS:
        answer = (tokens + PROMPT_AS_TOKENS / 2) / speed
        per_task = int(ANSWERS_SHARE * seconds / (2 * tasks * answer))
        if per_task * tasks >= FEWEST_PROMPTS:
            return min(per_task, most), tokens
    return max(1, -(-FEWEST_PROMPTS // tasks)), LENGTHS[-1]


def bench(options, model, draft, tasks, per_task, tokens, seconds, environment):
    """A report of `speckv bench`; at the end of its time it is stopped and has what was measured."""
    command = [
        options.speckv,
        "bench",
        "-m",
        model,
        "-d",
        lookup_too(draft),
        *tasks,
        "--controllers",
        "speckv",
        "--gammas",
        "none",
    ]
    command += ["--prompts-per-task", str(per_task), "-n", str(tokens), "--json"]
    print(f"{Path(model).name}: {' '.join(command[1:])}", file=sys.stderr, flush=True)
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        out, err = child.communicate(timeout=seconds + GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)
        out, err = child.communicate()
    if not out.strip():
        raise Failed(err.strip())
    return json.loads(out)


def lookup_too(draft):
    """`bench` always adds look-up to a model, and takes the model's name alone."""
    return draft.removesuffix("+ngram")


def result(report, bound):
    """What a report says of `speckv` by `off`. Certain is what has its interval above the bound."""
    row = next(row for row in report["settings"] if row["setting"] == "speckv")
    off = next(row for row in report["settings"] if row["setting"] == "off")
    ratio = row["to_off"]
    value, low = ratio["value"], ratio["low"]
    holds = "no" if value < bound else "yes" if low is not None and low >= bound else "not certain"
    return {
        "prompts": report["subject"]["prompts"],
        "max_tokens": report["subject"]["max_tokens"],
        "off_tokens_per_second": off["tokens_per_second"],
        "tokens_per_second": row["tokens_per_second"],
        "ratio": value,
        "low": low,
        "high": ratio["high"],
        "bound": bound,
        "holds": holds,
        "mismatches": report["mismatches"],
        "stopped": report["stopped"],
        "command": report["subject"]["command"],
        "machine": report["subject"]["machine"],
    }


def said(command, environment):
    """Standard output of a command that must succeed."""
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if ended.returncode != 0:
        raise Failed(f"{' '.join(command)}:\n{ended.stderr.strip()}")
    return ended.stdout


def write(options, rows):
    made = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average": os.getloadavg(),
        "rows": rows,
    }
    Path(options.output).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


def table(rows):
    """The rows as Markdown."""
    lines = [
        "| model | workload | draft | prompts | off, tok/s | speckv, tok/s | ratio | bound | holds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ends = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
        lines.append(
            f"| {row['model']} | {row['workload']} | {row['draft']} | {row['prompts']} "
            f"| {row['off_tokens_per_second']:.1f} | {row['tokens_per_second']:.1f} "
            f"| {row['ratio']:.3f}{ends} | {row['bound']} | {row['holds']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit(f"error: {failed}")
