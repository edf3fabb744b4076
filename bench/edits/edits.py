#!/usr/bin/env python3
"""An agent's text: one file, edited five times through the server, each time written out whole.

    speckv serve &
    bench/edits/edits.py --url http://127.0.0.1:8080 > edits.json

Each file goes through all edits with `off` and with `speckv`, greedily, in turns, each with requests
of its own. An edit gets the file as the answer before left it, so that both make the same texts: an
answer that differs is an error. Speeds are tokens of all five answers over the seconds from each
one's first token to its last. The server remembers earlier answers of the same key, so that the
order matters: `off` comes first, and `speckv` may look up what `off` has written. With
`--fresh-keys` each run has a key of its own (the server needs `--api-key` for each), and `speckv`
sees nothing of it."""

import argparse
import json
import sys
import urllib.request

INVENTORY = '''"""A small stock of parts."""

import json


class Part:
    def __init__(self, name, count, price):
        self.name = name
        self.count = count
        self.price = price

    def total(self):
        return self.count * self.price


class Stock:
    def __init__(self):
        self.parts = {}

    def add(self, name, count, price):
        if name in self.parts:
            self.parts[name].count += count
        else:
            self.parts[name] = Part(name, count, price)

    def take(self, name, count):
        part = self.parts[name]
        part.count -= count
        return part.price * count

    def total(self):
        return sum(part.total() for part in self.parts.values())

    def save(self, path):
        rows = [[p.name, p.count, p.price] for p in self.parts.values()]
        with open(path, "w") as file:
            json.dump(rows, file)

    def load(self, path):
        with open(path) as file:
            for name, count, price in json.load(file):
                self.add(name, count, price)
'''

EVENTS = '''"""Reads a log and counts what happened."""

import re
from collections import Counter

LINE = re.compile(r"(\\d{4}-\\d{2}-\\d{2}) (\\w+) (.*)")


def parse(line):
    match = LINE.match(line)
    if match is None:
        return None
    day, level, text = match.groups()
    return {"day": day, "level": level, "text": text}


def read(path):
    events = []
    with open(path) as file:
        for line in file:
            event = parse(line)
            if event is not None:
                events.append(event)
    return events


def by_level(events):
    counts = Counter()
    for event in events:
        counts[event["level"]] += 1
    return counts


def by_day(events):
    counts = Counter()
    for event in events:
        counts[event["day"]] += 1
    return counts


def report(events):
    lines = []
    for level, count in sorted(by_level(events).items()):
        lines.append(f"{level}: {count}")
    for day, count in sorted(by_day(events).items()):
        lines.append(f"{day}: {count}")
    return "\\n".join(lines)
'''

FILES = {
    "inventory": (
        INVENTORY,
        [
            "Make `take` raise ValueError if there are fewer than `count` of the part.",
            "Rename the method `total` of Part to `value`, and its use in Stock.",
            "Add a method `names` to Stock that returns the sorted names of all parts.",
            "Add a docstring to every method of Stock.",
            "Add a method `remove` to Stock that deletes a part by name.",
        ],
    ),
    "events": (
        EVENTS,
        [
            "Make `parse` strip the line before it is matched.",
            "Rename `by_level` to `count_levels`, and its use in `report`.",
            "Add a function `errors` that returns the events whose level is ERROR.",
            "Make `report` begin with a line that says how many events there are.",
            "Add a docstring to every function.",
        ],
    ),
}


def edited(url, key, file, edit, controller):
    """The file as the model writes it, and the reply's timings."""
    body = {
        "messages": [
            {"role": "system", "content": "You edit files. Answer with the whole file, no prose."},
            {"role": "user", "content": f"{edit}\n\n```python\n{file}```"},
        ],
        "temperature": 0,
        "max_tokens": 900,
        "speculation": controller,
    }
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request) as reply:
        reply = json.load(reply)
    text = reply["choices"][0]["message"]["content"]
    code = text.split("```python\n", 1)[-1].split("```", 1)[0]
    return code, text, reply["timings"]


def run(url, key, name, controller):
    """Tokens, seconds of decoding, and all texts of a file's edits."""
    file, edits = FILES[name]
    tokens, seconds, texts = 0, 0.0, []
    for edit in edits:
        file, text, timings = edited(url, key, file, edit, controller)
        tokens += timings["predicted_n"]
        seconds += timings["predicted_ms"] / 1e3
        texts.append(text)
    return tokens, seconds, texts


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--fresh-keys", help="keys of the server, as many as there are runs: a,b,c")
    options = parser.parse_args()
    keys = iter(options.fresh_keys.split(",")) if options.fresh_keys else iter([""] * 99)
    rows = []
    for name in FILES:
        plain = run(options.url, next(keys), name, "off")
        ours = run(options.url, next(keys), name, "speckv")
        if plain[2] != ours[2]:
            sys.exit(f"error: the texts of {name} differ from plain decoding's")
        speeds = [tokens / seconds for tokens, seconds, _ in (plain, ours)]
        rows.append({
            "file": name,
            "tokens": plain[0],
            "off_tokens_per_second": speeds[0],
            "speckv_tokens_per_second": speeds[1],
            "speckv_over_off": speeds[1] / speeds[0],
        })  # fmt: skip
        print(f"{name}: {speeds[1] / speeds[0]:.2f} x off, {plain[0]} tokens", file=sys.stderr)
    json.dump(rows, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
