#!/usr/bin/env python3
"""`speckv serve` beside `llama-server` under 1 to 16 clients, in turns, in one run. See
README.md."""

import argparse
import contextlib
import json
import os
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "peers"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import machine  # noqa: E402
import report  # noqa: E402
import settings  # noqa: E402
import workload  # noqa: E402
from client import AnswerFailed, ask, body, run_level, work  # noqa: E402
from figures import Block, differing_prompts, differing_texts, rows  # noqa: E402
from servers import Llama, ServerFailed, Speckv  # noqa: E402


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="target, a GGUF file")
    parser.add_argument("--draft", required=True, help="draft, a GGUF file")
    parser.add_argument("--clients", default="1,2,4,8,16", help="numbers of clients [%(default)s]")
    parser.add_argument(
        "--speckv", default="off,fixed-4,speckv", metavar="LIST", help="controllers [%(default)s]"
    )
    parser.add_argument(
        "--llama",
        default="plain,ngram,draft-3",
        metavar="LIST",
        help=f"settings of llama-server: {settings.LLAMA_NAMES}; none for none [%(default)s]",
    )
    parser.add_argument(
        "--each",
        type=int,
        default=1,
        metavar="N",
        help="requests per client and level [%(default)s]",
    )
    parser.add_argument(
        "--least",
        type=int,
        default=4,
        metavar="N",
        help="requests per level at least [%(default)s]",
    )
    parser.add_argument(
        "--prompts-per-task",
        type=int,
        default=4,
        metavar="K",
        help="of the test split [%(default)s]",
    )
    parser.add_argument(
        "--max-tokens", type=int, default=96, metavar="N", help="of an answer [%(default)s]"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        metavar="N",
        help="every level and setting runs once in each [%(default)s]",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="after the first round, no level is begun that would end later than M minutes after the start",
    )
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), metavar="N", help="of both [%(default)s]"
    )
    parser.add_argument(
        "--context", type=int, default=1024, metavar="N", help="of each slot [%(default)s]"
    )
    parser.add_argument(
        "--kv-memory", type=int, default=8192, metavar="MB", help="of speckv serve [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=1, help="of prompts and order [%(default)s]")
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
        default=1200,
        metavar="S",
        help="seconds for an answer [%(default)s]",
    )
    parser.add_argument("--output", type=Path, help="JSON file for all answers and the summary")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="two levels, one round, short answers: does it work at all?",
    )
    options = parser.parse_args(arguments)
    if options.quick:
        (
            options.clients,
            options.rounds,
            options.each,
            options.least,
            options.max_tokens,
            options.prompts_per_task,
        ) = "1,3", 1, 1, 1, 12, 1
    try:
        options.levels = sorted({int(count) for count in options.clients.split(",")})
        llama = "" if options.llama == "none" else options.llama
        options.settings = settings.parse("llama", llama) + [
            f"speckv:{name}" for name in options.speckv.split(",") if name
        ]
    except ValueError as error:
        parser.error(str(error))
    if (
        not options.levels
        or min(options.levels[0], options.rounds, options.each, options.max_tokens) < 1
    ):
        parser.error("clients, rounds, requests and tokens must be at least 1")
    options.slots = options.levels[-1]
    return options


def programs(options):
    """The binaries that the settings need."""
    found = {}
    for engine, variable, default in (
        ("llama", "LLAMA_SERVER", None),
        ("speckv", "SPECKV", ROOT / "target/release/speckv"),
    ):
        if any(settings.engine_of(name) == engine for name in options.settings):
            path = os.environ.get(variable) or default
            if not path or not os.access(path, os.X_OK):
                sys.exit(
                    f"error: {engine} is not at {path!r}\nhint: set {variable} to its path; bench/peers/README.md says how to build it"
                )
            found[engine] = str(path)
    return found


def start(stack, options, binaries, say):
    """The server of every setting, warmed up. SpecKV first: it measures its costs while nothing
    else is there.
    """
    servers, own = {}, None
    for setting in sorted(options.settings, key=settings.engine_of, reverse=True):
        if settings.engine_of(setting) == "llama":
            server = Llama(binaries["llama"], setting, options)
        else:
            server = own or Speckv(binaries["speckv"], options)
        if server is not own:
            say(f"starting: {' '.join(server.command)}")
            stack.enter_context(server)
        if settings.engine_of(setting) == "speckv":
            own = server
        servers[setting] = server
    return servers


def plan(options, elapsed):
    """(round, clients) in turn, levels in a new random order in each round; `elapsed` tells the
    seconds since the start.
    """
    order, lasted = random.Random(options.seed), {}
    for number in range(options.rounds):
        for clients in order.sample(options.levels, len(options.levels)):
            begun = elapsed()
            if number and options.minutes and begun + lasted[clients] > 60 * options.minutes:
                continue
            yield number, clients
            lasted[clients] = elapsed() - begun


def measure(options, prompts, servers, say, keep):
    """All rounds. Within a level the settings come in a new random order, each with the same
    prompts.
    """
    order, blocks, turns, quiet = random.Random(options.seed), [], [], machine.Quiet(say)
    begin = time.monotonic()

    def elapsed():
        return time.monotonic() - begin

    for setting in options.settings:  # first touch of memory and code
        ask(
            servers[setting].port,
            prompts[0],
            body(prompts[0], 8, servers[setting].more(setting)),
            options.answer_limit,
        )
    for number, clients in plan(options, elapsed):
        listed = work(order.sample(prompts, len(prompts)), clients, options.each, options.least)
        for setting in order.sample(options.settings, len(options.settings)):
            state = quiet.before(f"{setting} with {clients} clients")
            turns.append(
                {
                    "round": number,
                    "clients": clients,
                    "setting": setting,
                    "start_seconds": round(elapsed(), 1),
                    **state,
                }
            )
            server = servers[setting]
            answers = run_level(
                server.port,
                listed,
                clients,
                options.max_tokens,
                server.more(setting),
                options.answer_limit,
            )
            blocks.append(Block(number, clients, setting, tuple(answers)))
            say(
                f"{elapsed():6.0f} s, round {number + 1}: {clients} clients, {setting}: {blocks[-1].tokens_per_second:.1f} tokens/s"
            )
        keep(blocks, turns)
    return blocks


def write(options, binaries, servers, blocks, turns):
    """Writes the result so far, so that a failure late in a long run loses one level at most."""
    if not options.output:
        return
    ratios = report.comparisons(blocks)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    whole = {
        "command": sys.argv,
        "servers": {setting: server.command for setting, server in servers.items()},
        "machine": machine.describe(binaries),
        "options": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(options).items()
        },
        "summary": {
            "figures": [asdict(one) for one in rows(blocks)],
            "ratios": [asdict(one) for one in ratios],
            "targets": report.verdict(ratios),
            "texts_unlike_off": differing_texts(blocks, report.OFF, "speckv:"),
        },
        "turns": turns,
        "blocks": [asdict(block) for block in blocks],
    }
    options.output.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def main():
    options = parse_arguments()
    binaries = programs(options)

    def say(text):
        print(text, file=sys.stderr, flush=True)

    try:
        prompts = workload.load(ROOT / "crates/speckv-lab/workloads", options.prompts_per_task)
        with contextlib.ExitStack() as stack:
            servers = start(stack, options, binaries, say)
            blocks = measure(
                options,
                prompts,
                servers,
                say,
                lambda *so_far: write(options, binaries, servers, *so_far),
            )
    except (ServerFailed, AnswerFailed, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    ratios = report.comparisons(blocks)
    print(
        "\n\n".join(
            [
                report.figures(blocks),
                report.ratios_in_words(ratios),
                "\n".join(report.verdict(ratios)),
            ]
        )
    )
    if unequal := differing_prompts(blocks):
        sys.exit(f"error: the sides do not read the same prompts; tokens by prompt: {unequal}")
    if unlike := {
        setting: texts
        for setting, texts in differing_texts(blocks, report.OFF, "speckv:").items()
        if texts
    }:
        sys.exit(f"error: greedy answers under load differ from those of {report.OFF}: {unlike}")


if __name__ == "__main__":
    main()
