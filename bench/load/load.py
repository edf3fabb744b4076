#!/usr/bin/env python3
"""`speckv serve` beside `llama-server` under 1 to 16 clients, in turns, in one run. See README.md."""

import argparse
import json
import os
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "peers"))

import machine  # noqa: E402
import settings  # noqa: E402
import workload  # noqa: E402
from client import AnswerFailed, ask, body, run_level, share  # noqa: E402
from figures import differing_texts, level, medians, ratios  # noqa: E402
from servers import Llama, ServerFailed, Speckv  # noqa: E402

OFF, OWN = "speckv:off", "speckv:speckv"
TARGET_ALONE, TARGET_NEVER_BELOW, TARGET_PEER = 1.4, 0.97, 1.5


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="target, a GGUF file")
    parser.add_argument("--draft", required=True, help="draft, a GGUF file, or ngram")
    parser.add_argument("--clients", default="1,2,4,8,16", help="numbers of clients [%(default)s]")
    parser.add_argument("--speckv", default="off,fixed-4,speckv", metavar="LIST", help="controllers [%(default)s]")
    parser.add_argument("--llama", default="plain,draft-3", metavar="LIST", help=f"settings of llama-server: {settings.LLAMA_NAMES}; none for none [%(default)s]")
    parser.add_argument("--each", type=int, default=3, metavar="N", help="requests per client and level [%(default)s]")
    parser.add_argument("--prompts-per-task", type=int, default=4, metavar="K", help="of the test split [%(default)s]")
    parser.add_argument("--max-tokens", type=int, default=96, metavar="N", help="of an answer [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="every setting runs once in each [%(default)s]")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N", help="of both [%(default)s]")
    parser.add_argument("--context", type=int, default=2048, metavar="N", help="of each slot [%(default)s]")
    parser.add_argument("--kv-memory", type=int, default=8192, metavar="MB", help="of speckv serve [%(default)s]")
    parser.add_argument("--seed", type=int, default=1, help="of the settings' order [%(default)s]")
    parser.add_argument("--start-limit", type=float, default=180, metavar="S", help="seconds to load a model [%(default)s]")
    parser.add_argument("--answer-limit", type=float, default=1200, metavar="S", help="seconds for an answer [%(default)s]")
    parser.add_argument("--output", type=Path, help="JSON file for all answers and the summary")
    parser.add_argument("--quick", action="store_true", help="two levels, one round, short answers: does it work at all?")
    options = parser.parse_args(arguments)
    if options.quick:
        options.clients, options.rounds, options.each, options.max_tokens, options.prompts_per_task = "1,3", 1, 1, 12, 1
    try:
        options.levels = sorted({int(count) for count in options.clients.split(",")})
        llama = "" if options.llama == "none" else options.llama
        options.settings = settings.parse("llama", llama) + [f"speckv:{name}" for name in options.speckv.split(",") if name]
    except ValueError as error:
        parser.error(str(error))
    if not options.levels or options.levels[0] < 1 or min(options.rounds, options.each, options.max_tokens) < 1:
        parser.error("clients, rounds, requests and tokens must be at least 1")
    options.slots = options.levels[-1]
    return options


def programs(options):
    """The binaries that the settings need."""
    found = {}
    for engine, variable, default in (("llama", "LLAMA_SERVER", None), ("speckv", "SPECKV", ROOT / "target/release/speckv")):
        if any(settings.engine_of(name) == engine for name in options.settings):
            path = os.environ.get(variable) or default
            if not path or not os.access(path, os.X_OK):
                sys.exit(f"error: {engine} is not at {path!r}\nhint: set {variable} to its path; bench/peers/README.md says how to build it")
            found[engine] = str(path)
    return found


def measure(options, prompts, binaries, say, keep):
    """Rounds of settings in a new order each time; a setting's levels run in one block, since its server has to be started for it."""
    engines = {"llama": Llama, "speckv": Speckv}
    order = random.Random(options.seed)
    levels, answers, turns = [], [], []
    start = time.monotonic()
    for round_number in range(options.rounds):
        # The same prompts for every setting of a round, others in the next.
        mixed = order.sample(prompts, len(prompts))
        for setting in order.sample(options.settings, len(options.settings)):
            turns.append({"round": round_number, "setting": setting, "start_seconds": round(time.monotonic() - start, 1)})
            with engines[settings.engine_of(setting)](binaries[settings.engine_of(setting)], setting, options) as server:
                ask(server.port, mixed[0], body(mixed[0], 8, server.more), options.answer_limit)  # first touch of memory and code
                for clients in options.levels:
                    work = share(mixed, clients, options.each, 0)
                    by_client = run_level(server.port, work, options.max_tokens, server.more, options.answer_limit)
                    one = level(setting, by_client)
                    levels.append(one)
                    answers += [{"round": round_number, "setting": setting, "clients": clients, "answer": a} for group in by_client for a in group]
                    say(f"round {round_number + 1} of {options.rounds}: {setting}, {clients} clients: {one.tokens_per_second:.1f} tokens/s")
        keep(levels, answers, turns)
    return levels, answers


def table(levels):
    """Rows of medians, by number of clients."""
    lines = [f"{'clients':>7}  {'setting':<18} {'tokens/s':>9} {'TTFT p50':>9} {'p95':>8} {'ITL p50':>9} {'p95':>8}   (milliseconds)"]
    for one in sorted(medians(levels), key=lambda one: (one.clients, one.setting)):
        times = [1000 * value for value in (one.first_token_p50, one.first_token_p95, one.gap_p50, one.gap_p95)]
        lines.append(f"{one.clients:>7}  {one.setting:<18} {one.tokens_per_second:>9.1f} {times[0]:>9.0f} {times[1]:>8.0f} {times[2]:>9.1f} {times[3]:>8.1f}")
    return "\n".join(lines)


def verdict(levels, llama):
    """The targets in words, each with its figures."""
    own, peer = ratios(levels, OWN, [OFF]), ratios(levels, OWN, llama)
    words = []
    if 1 in own:
        words.append((own[1] >= TARGET_ALONE, f"speckv at one client: {own[1]:.2f} x off, target {TARGET_ALONE}"))
    if own:
        worst = min(own, key=own.get)
        words.append((own[worst] >= TARGET_NEVER_BELOW, f"speckv at worst, at {worst} clients: {own[worst]:.2f} x off, target {TARGET_NEVER_BELOW}"))
    if peer:
        worst = min(peer, key=peer.get)
        words.append((peer[worst] >= TARGET_PEER, f"speckv at worst, at {worst} clients: {peer[worst]:.2f} x llama-server's best, target {TARGET_PEER}"))
    return [f"{'met' if met else 'MISSED'}: {text}" for met, text in words]


def summary(options, levels, answers):
    """What is printed and kept."""
    by_setting = {}
    for entry in answers:
        if entry["setting"].startswith("speckv:"):
            by_setting.setdefault(entry["setting"], []).append(entry["answer"])
    llama = [name for name in options.settings if name.startswith("llama:")]
    return {
        "medians": [asdict(one) for one in medians(levels)],
        "own_against_off": ratios(levels, OWN, [OFF]),
        "own_against_best_llama": ratios(levels, OWN, llama),
        "texts_unlike_off": differing_texts(by_setting, OFF),
        "targets": verdict(levels, llama),
    }


def write(options, binaries, levels, answers, turns):
    """Writes the result so far, so that a failure late in a long run loses one round at most."""
    if not options.output:
        return
    options.output.parent.mkdir(parents=True, exist_ok=True)
    whole = {
        "command": sys.argv,
        "machine": machine.describe(binaries),
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()},
        "summary": summary(options, levels, answers),
        "turns": turns,
        "levels": [asdict(one) for one in levels],
        "answers": [{**entry, "answer": asdict(entry["answer"])} for entry in answers],
    }
    options.output.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def main():
    options = parse_arguments()
    binaries = programs(options)
    try:
        prompts = workload.load(ROOT / "workloads", options.prompts_per_task)
        levels, answers = measure(
            options,
            prompts,
            binaries,
            lambda text: print(text, file=sys.stderr, flush=True),
            lambda *so_far: write(options, binaries, *so_far),
        )
    except (ServerFailed, AnswerFailed, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    found = summary(options, levels, answers)
    print(table(levels))
    print("\n".join(found["targets"]))
    unlike = {setting: prompts for setting, prompts in found["texts_unlike_off"].items() if prompts}
    if unlike:
        sys.exit(f"error: greedy answers under load differ from those of {OFF}: {unlike}")


if __name__ == "__main__":
    main()
