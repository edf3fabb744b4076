"""Tokens per second of vLLM: plain, fixed lengths, and SpecKV's controller, alternating in rounds.
Prints JSON.

    python measure.py MODEL.gguf|tiny [--draft ngram|FILE.gguf] [--tensor-parallel 2] [--rounds 3]
    [--max-tokens 64] > measured.json

Two engines are loaded, one without speculation and one whose proposer switches between settings; a
round measures every setting at every concurrency in a drawn order, so that whatever else the
machine does hits all alike. Texts are compared with the plain ones, token by token. `tiny` is a
random Qwen2 whose text soon runs in circles: look-up finds it, and it says nothing about real
models.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path

from engines import Worker, convert, tiny_qwen2, workload

TINY_PROMPTS = [
    [(7 * place * (request + 1) + request) % 60 for place in range(10 + 5 * request)]
    for request in range(8)
]


def first_difference(ours, theirs):
    pairs = enumerate(zip(ours, theirs))
    return next(
        (place for place, (a, b) in pairs if a != b),
        min(len(ours), len(theirs)) if len(ours) != len(theirs) else None,
    )


def gammas(path):
    """How the controller's lengths differed between requests of one step, from the records of its
    proposer.
    """
    steps = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    shared = [step["gammas"] for step in steps if len(step["gammas"]) > 1]
    differing = [lengths for lengths in shared if len(set(lengths)) > 1]
    histogram = {}
    for length in (length for step in steps for length in step["gammas"]):
        histogram[length] = histogram.get(length, 0) + 1
    return {
        "steps": len(steps),
        "steps_with_several_requests": len(shared),
        "of_these_with_different_gammas": len(differing),
        "examples": sorted(differing, key=lambda lengths: -len(set(lengths)))[:5],
        "requests_by_gamma": dict(sorted(histogram.items())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "model", type=Path, help="a GGUF file, which is converted to float32, or `tiny`"
    )
    parser.add_argument("--tensor-parallel", type=int, default=1)
    parser.add_argument(
        "--draft", default="ngram", help="ngram, or a GGUF file for speckv's CPU backend"
    )
    parser.add_argument("--fixed", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--concurrency", type=int, nargs="*", default=[1, 4, 8])
    parser.add_argument("--tasks", nargs="*", default=["editing", "code", "summarization", "chat"])
    parser.add_argument("--per-task", type=int, default=2)
    parser.add_argument(
        "--longest", type=int, default=500, help="tokens of the longest prompt that is taken"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=None, help="of the draft model")
    parser.add_argument(
        "--log", default=None, help="folder for the engines' logs and the steps of the controller"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        logs = Path(arguments.log) if arguments.log else folder
        logs.mkdir(parents=True, exist_ok=True)
        tiny = arguments.model == Path("tiny")
        if tiny:
            model = tiny_qwen2(folder / "model")
            prompts = [(f"tiny-{number}", tokens) for number, tokens in enumerate(TINY_PROMPTS)]
        else:
            model = convert(arguments.model, folder / "model")
            from transformers import AutoTokenizer

            prompts = workload(
                AutoTokenizer.from_pretrained(model),
                arguments.tasks,
                arguments.per_task,
                arguments.longest,
            )
        ranks = arguments.tensor_parallel
        ids = [tokens for _, tokens in prompts]
        base = {"draft": arguments.draft, "threads": arguments.threads}
        settings = {"plain": None} | {
            f"fixed-{k}": base | {"controller": f"fixed:{k}"} for k in arguments.fixed
        }
        settings["speckv"] = base | {"controller": "speckv", "record": str(logs / "steps.jsonl")}
        samples, texts = [], {}
        with (
            Worker(model, tensor_parallel=ranks, log=logs / "plain.log") as plain,
            Worker(
                model,
                tensor_parallel=ranks,
                speckv=settings["speckv"],
                switch=True,
                log=logs / "speculating.log",
            ) as speculating,
        ):
            plain.wait()
            speculating.wait()
            draw = random.Random(7)
            for number in range(
                arguments.rounds + 1
            ):  # round 0 warms up and learns what passes cost; it is kept apart
                turns = [(name, count) for name in settings for count in arguments.concurrency]
                draw.shuffle(turns)
                for name, count in turns:
                    engine = plain if name == "plain" else speculating
                    answer = engine.answer(
                        ids, count, arguments.max_tokens, setting=settings[name], ignore_eos=tiny
                    )
                    tokens = sum(map(len, answer["outputs"]))
                    samples.append(
                        {
                            "round": number,
                            "setting": name,
                            "concurrency": count,
                            "tokens": tokens,
                            "seconds": answer["seconds"],
                        }
                    )
                    texts[name, count, number] = answer["outputs"]
                    print(
                        f"round {number}: {name} x{count}: {tokens / answer['seconds']:.1f} tokens/s",
                        file=sys.stderr,
                        flush=True,
                    )
        lengths = gammas(logs / "steps.jsonl")
        # Every rank's proposer records what it returned.
        others = [path for path in sorted(logs.glob("steps.jsonl.rank*"))]
        drafts = lambda path: [
            json.loads(line)["drafts"] for line in path.read_text(encoding="utf-8").splitlines()
        ]  # noqa: E731
        same = (
            all(drafts(path) == drafts(logs / "steps.jsonl") for path in others) if others else None
        )
    differences = []
    for (name, count, number), outputs in texts.items():
        for (prompt, _), ours, theirs in zip(prompts, outputs, texts["plain", 1, 0]):
            place = first_difference(ours, theirs)
            if place is not None:
                differences.append(
                    {
                        "setting": name,
                        "concurrency": count,
                        "round": number,
                        "prompt": prompt,
                        "position": place,
                    }
                )
    rows = []
    for count in arguments.concurrency:
        speeds = {
            name: [
                s["tokens"] / s["seconds"]
                for s in samples
                if s["round"] and (s["setting"], s["concurrency"]) == (name, count)
            ]
            for name in settings
        }
        for name, values in speeds.items():
            ratios = [ours / theirs for ours, theirs in zip(values, speeds["plain"])]
            rows.append(
                {
                    "concurrency": count,
                    "setting": name,
                    "tokens_per_second": {"median": statistics.median(values), "samples": values},
                    "ratio_to_plain": {"median": statistics.median(ratios), "samples": ratios},
                }
            )
    report = {
        "model": arguments.model.name,
        "draft": arguments.draft if arguments.draft == "ngram" else Path(arguments.draft).name,
        "dtype": "float32",
        "tensor_parallel": ranks,
        "prompts": [name for name, _ in prompts],
        "max_tokens": arguments.max_tokens,
        "texts_compared": len(texts) * len(prompts),
        "texts_that_differ_from_plain_alone": differences,
        "gammas_of_speckv": lengths,
        "all_ranks_proposed_the_same": same,
        "speeds": rows,
        "samples": samples,
    }
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
