#!/usr/bin/env python3
"""Tokens per second with a schema and without, plain and speculating, on a running server.

    bench/structured/table.py --url http://127.0.0.1:8080 --model-file TARGET.gguf \\
        --mask-times target/release/examples/mask_times [--repeat 3] > table.json

The server needs a draft model. Each schema is asked with `off` and with `speckv`, with the schema and
without it, greedily, in turns, so that a change of the machine's speed meets all of them. The first
round is not counted. Speeds are tokens of the answer over the seconds from its first token to its
last; a first step that makes all tokens has no speed and is left out.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from schemas import SCHEMAS


def ask(url, body):
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def mask_times(program, model, schema, answer):
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "schema", Path(folder) / "answer"]
        for path, text in zip(paths, (json.dumps(schema), answer)):
            path.write_text(text)
        return json.loads(subprocess.run([program, model, *paths], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model-file", required=True)
    parser.add_argument("--mask-times", required=True)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for name, (schema, question) in SCHEMAS.items():
        form = {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}
        speeds, answers, forced = {}, {}, {}
        for turn in range(options.repeat + 1):
            for controller in ("off", "speckv"):
                for structured in (True, False):
                    ask_for = question if structured else question + " Answer with one JSON object on one line."
                    body = {"messages": [{"role": "user", "content": ask_for}], "temperature": 0, "max_tokens": 320, "speculation": controller, "cache_prompt": True}
                    reply = ask(options.url, {**body, **({"response_format": form} if structured else {})})
                    timings = reply["timings"]
                    key = (controller, structured)
                    if turn and timings["predicted_per_second"]:
                        speeds.setdefault(key, []).append(timings["predicted_per_second"])
                    answers.setdefault(structured, set()).add(reply["choices"][0]["message"]["content"])
                    forced[key] = timings["forced_n"] / timings["predicted_n"]
        for structured, texts in answers.items():
            if len(texts) > 1:
                sys.exit(f"{name}: answers differ, schema {structured}: {texts}")
        answer = answers[True].pop()
        masks = mask_times(options.mask_times, options.model_file, schema, answer)
        median = {f"{controller}{'_schema' if structured else ''}": statistics.median(values) for (controller, structured), values in speeds.items()}
        step_us = 1e6 / median["off_schema"]
        rows.append({
            "schema": name, "tokens": masks["tokens"], "tokens_per_second": median, "samples": {f"{c}{'_schema' if s else ''}": v for (c, s), v in speeds.items()},
            "speckv_over_off_with_schema": median["speckv_schema"] / median["off_schema"],
            "forced_share": forced["speckv", True], "mask_us": masks, "mask_share_of_a_plain_step": masks["mean_us"] / step_us,
        })  # fmt: skip
        print(f"{name:10} {median} forced {forced['speckv', True]:.2f} mask p50 {masks['p50_us']:.0f} us p99 {masks['p99_us']:.0f} us", file=sys.stderr)
    json.dump(rows, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
