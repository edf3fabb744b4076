#!/usr/bin/env python3
"""t(n) and prompt speed of SpecKV and llama.cpp on the same file, in turns. See README.md."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import machine
import table
from compare import ROOT, program
from llama_server import clean_environment
from spread import paired_ratio, spread

MOST_ROWS = 17


class ToolFailed(RuntimeError):
    """A measuring program failed."""


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a GGUF file")
    parser.add_argument("--output", type=Path, help="JSON file for all samples and the summary")
    parser.add_argument(
        "--context", type=int, default=128, metavar="N", help="tokens already read [%(default)s]"
    )
    parser.add_argument(
        "--prompt", default="128,512", metavar="LIST", help="prompt lengths [%(default)s]"
    )
    parser.add_argument(
        "--passes",
        type=int,
        default=8,
        metavar="N",
        help="passes that a sample of llama is the mean of [%(default)s]",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="both run once in each [%(default)s]"
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), metavar="N", help="of both [%(default)s]"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=1800,
        metavar="S",
        help="seconds for one program's run [%(default)s]",
    )
    options = parser.parse_args(arguments)
    if not Path(options.model).is_file():
        parser.error(f"{options.model} is no file")
    return options


def batched_bench(binary, options):
    """The command whose decoding of n parallel sequences is a pass of n rows with the logits of
    all. The prompt is shared, as it is when n drafted tokens are verified."""
    cells = options.context + MOST_ROWS * options.passes
    counts = ",".join(map(str, range(1, MOST_ROWS + 1)))
    threads = str(options.threads)
    return [
        *(
            binary,
            "-m",
            options.model,
            "-t",
            threads,
            "-tb",
            threads,
            "-c",
            str(max(cells, 512)),
            "-pps",
            "-kvu",
            "--offline",
        ),
        *(
            "-npp",
            str(options.context),
            "-ntg",
            str(options.passes),
            "-npl",
            counts,
            "--output-format",
            "jsonl",
        ),
    ]


def llama_bench(binary, options):
    """The command that times prompts."""
    threads = str(options.threads)
    return [
        binary,
        "-m",
        options.model,
        "-t",
        threads,
        "-p",
        options.prompt,
        "-n",
        "0",
        "-r",
        "1",
        "-o",
        "json",
        "--offline",
    ]


def speckv_bench(binary, options):
    """The command that times passes and prompts of SpecKV."""
    lengths = ["--context", str(options.context), "--prompt", options.prompt]
    return [
        binary,
        "bench",
        "--curve",
        options.model,
        *lengths,
        "--rounds",
        "1",
        "--threads",
        str(options.threads),
        "--json",
        "--quiet",
    ]


def of_batched_bench(text):
    """{n: milliseconds of a pass} of the lines that llama-batched-bench prints."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {line["pl"]: 1e3 * line["t_tg"] / line["tg"] for line in lines}


def of_llama_bench(text):
    """{prompt tokens: tokens per second} of what llama-bench prints."""
    return {
        entry["n_prompt"]: entry["samples_ts"][0] for entry in json.loads(text) if entry["n_prompt"]
    }


def of_speckv_bench(text):
    """The same two of `speckv bench --curve --json` with one round."""
    answer = json.loads(text)
    passes = {
        entry["rows"]: entry["milliseconds"]["median"] for entry in answer["curves"][0]["passes"]
    }
    return passes, {
        entry["tokens"]: entry["tokens_per_second"]["median"] for entry in answer["prompts"]
    }


def output_of(command, limit):
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            env=clean_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise ToolFailed(f"{command[0]} took longer than {limit} seconds") from error
    if ended.returncode != 0:
        raise ToolFailed(
            f"{command[0]} ended with status {ended.returncode}; it said:\n{ended.stderr[-2000:]}"
        )
    return ended.stdout


def measure(options, commands, say):
    """{engine: {"passes": {(round, n): ms}, "prompts": {(round, tokens): tokens per second}}}; who
    begins alternates.
    """
    samples = {engine: {"passes": {}, "prompts": {}} for engine in ("llama", "speckv")}
    for round_number in range(options.rounds):
        for engine in ("llama", "speckv") if round_number % 2 == 0 else ("speckv", "llama"):
            texts = [output_of(command, options.limit) for command in commands[engine]]
            if engine == "llama":
                passes, prompts = of_batched_bench(texts[0]), of_llama_bench(texts[1])
            else:
                passes, prompts = of_speckv_bench(texts[0])
            samples[engine]["passes"] |= {(round_number, n): ms for n, ms in passes.items()}
            samples[engine]["prompts"] |= {
                (round_number, tokens): speed for tokens, speed in prompts.items()
            }
            say(f"round {round_number + 1} of {options.rounds}: {engine} done")
    return samples


def at(samples, place):
    """The samples of one n or prompt length, by round."""
    return {round_number: value for (round_number, n), value in samples.items() if n == place}


def summarise(samples):
    """Per n: milliseconds, ratio to n = 1, and llama's time over speckv's; per prompt: speeds, and
    speckv's over llama's.
    """
    llama, speckv = samples["llama"], samples["speckv"]
    passes = []
    for n in sorted({n for _, n in llama["passes"]} & {n for _, n in speckv["passes"]}):
        row = {"rows": n}
        for engine, own in (("llama", llama["passes"]), ("speckv", speckv["passes"])):
            row[f"{engine}_ms"] = spread(at(own, n).values())
            row[f"{engine}_ratio"] = paired_ratio(at(own, n), at(own, 1))
        row["llama_over_speckv"] = paired_ratio(at(llama["passes"], n), at(speckv["passes"], n))
        passes.append(row)
    prompts = []
    for tokens in sorted({n for _, n in llama["prompts"]} & {n for _, n in speckv["prompts"]}):
        theirs, ours = at(llama["prompts"], tokens), at(speckv["prompts"], tokens)
        row = {
            "tokens": tokens,
            "llama_speed": spread(theirs.values()),
            "speckv_speed": spread(ours.values()),
        }
        prompts.append(row | {"speckv_over_llama": paired_ratio(ours, theirs)})
    return {"passes": passes, "prompts": prompts}


def report(summary, context):
    """The printed result."""

    def lines(rows, first, decimals):
        return [
            [str(row[first])] + [row[key].text(places) for key, places in decimals] for row in rows
        ]

    head = ["n", "llama ms", "/ t(1)", "speckv ms", "/ t(1)", "llama / speckv"]
    keys = [
        ("llama_ms", 1),
        ("llama_ratio", 2),
        ("speckv_ms", 1),
        ("speckv_ratio", 2),
        ("llama_over_speckv", 2),
    ]
    passes = table.columns(head, lines(summary["passes"], "rows", keys))
    head = ["prompt", "llama tokens/s", "speckv tokens/s", "speckv / llama"]
    keys = [("llama_speed", 1), ("speckv_speed", 1), ("speckv_over_llama", 2)]
    prompts = table.columns(head, lines(summary["prompts"], "tokens", keys))
    return f"a pass of n rows after {context} tokens, logits of all\n{passes}\n\nprompts\n{prompts}"


def as_json(value):
    if hasattr(value, "as_json"):
        return value.as_json()
    raise TypeError(type(value).__name__)


def main():
    options = parse_arguments()
    server = Path(program("LLAMA_SERVER", None, "llama-server"))
    speckv = program("SPECKV", ROOT / "target/release/speckv", "the release build of speckv")
    tools = {"llama-batched-bench": batched_bench, "llama-bench": llama_bench}
    for tool in tools:
        if not os.access(server.with_name(tool), os.X_OK):
            sys.exit(
                f"error: {tool} is not beside {server}\nhint: build the three targets that README.md names"
            )
    commands = {
        "llama": [make(str(server.with_name(tool)), options) for tool, make in tools.items()],
        "speckv": [speckv_bench(speckv, options)],
    }
    try:
        samples = measure(options, commands, lambda text: print(text, file=sys.stderr, flush=True))
    except ToolFailed as error:
        sys.exit(f"error: {error}")
    summary = summarise(samples)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        flat = {
            engine: {
                kind: [
                    {"round": place[0], "n": place[1], "value": value}
                    for place, value in values.items()
                ]
                for kind, values in kinds.items()
            }
            for engine, kinds in samples.items()
        }
        whole = {
            "command": sys.argv,
            "commands": commands,
            "machine": machine.describe({"llama": str(server), "speckv": speckv}),
            "summary": summary,
            "samples": flat,
        }
        options.output.write_text(
            json.dumps(whole, indent=1, default=as_json) + "\n", encoding="utf-8"
        )
    print(report(summary, options.context))


if __name__ == "__main__":
    main()
