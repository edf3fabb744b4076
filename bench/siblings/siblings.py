"""What siblings could gain, by replay: the draft's second choice in a row of its own.

    siblings.py TRACES COST

TRACES is a folder of `speckv profile --trace`, COST a stored cost model as `speckv replay --cost`
takes it. Needs pyarrow. At the first kept position whose confidence is below a bound, the draft's
second choice is verified beside the draft; where the first choice is rejected and the second one
is right, the step makes one token more. The best depth of a rule is chosen without siblings, the
best bound with them, both in hindsight. `known`: a sibling stands exactly where it will be right,
the most that siblings of this kind can gain. What the controller makes of them is exact in
`speckv replay --controllers speckv,speckv:siblings=off`.
"""

import argparse
import json
import pathlib
from dataclasses import dataclass

import pyarrow.parquet


@dataclass
class Text:
    """A recorded text: the draft's chain and second choice before each token."""

    task: str
    prompt: list[int]
    tokens: list[int]
    chains: list[list[tuple[int, float]]]  # token, confidence
    second: list[int | None]


def read(path):
    """A trace of format 2, which has the draft's second choices."""
    table = pyarrow.parquet.read_table(path)
    prompt = json.loads(table.schema.metadata[b"speckv.prompt"])
    rows = table.to_pylist()
    count = 1 + max(row["position"] for row in rows)
    tokens, chains, second = [0] * count, [[] for _ in range(count)], [None] * count
    for row in rows:
        if row["source"] == "target":
            tokens[row["position"]] = row["token"]
        elif row["source"] == "model":
            chains[row["position"]].append((row["draft_index"], row["token"], row["confidence"]))
            if row["draft_index"] == 0:
                second[row["position"]] = row["second"]
    chains = [[(token, sure) for _, token, sure in sorted(chain)] for chain in chains]
    return Text(prompt["task"], prompt["tokens"], tokens, chains, second)


class Cost:
    """Seconds of passes."""

    def __init__(self, path):
        model = json.loads(pathlib.Path(path).read_text())
        self.rows, self.one = model["verify"], model["draft"]["seconds"]
        self.catch_up = model["catch_up_per_token"]

    def verify(self, rows, context):
        """A pass of the target over so many rows."""
        row = self.rows[min(rows, len(self.rows)) - 1]
        return row["seconds"] + context * row["per_context_token"]


def replay(text, cost, depth, stop, place):
    """Tokens, seconds, siblings and right ones of a text, drafted up to `depth` tokens and until
    the probability of all of them is below `stop`."""
    at, seconds, behind, siblings, right = 0, 0.0, 0, 0, 0
    while at < len(text.tokens):
        kept, survival = [], 1.0
        for token, sure in text.chains[at][:depth]:
            kept.append((token, sure))
            survival *= sure
            if survival < stop:
                break
        rest = text.tokens[at:]
        pairs = zip(kept, rest, strict=False)
        agrees = [token == expected for (token, _), expected in pairs]
        accepted = (agrees + [False]).index(False)
        rejected = accepted < len(kept) and at + accepted < len(text.tokens)
        is_right = rejected and text.second[at + accepted] == text.tokens[at + accepted]
        sibling = place(kept, accepted if is_right else None)
        rows = 1 + len(kept) + (sibling is not None)
        seconds += len(kept) * cost.one + cost.verify(rows, len(text.prompt) + at)
        seconds += behind * cost.catch_up if kept else 0
        hit = is_right and sibling == accepted
        siblings, right = siblings + (sibling is not None), right + hit
        behind = int(hit or accepted == len(kept))
        at += accepted + 1 + hit
    return len(text.tokens), seconds, siblings, right


def total(texts, *settings):
    """Sums over texts, with tokens per second first."""
    columns = zip(*(replay(text, *settings) for text in texts), strict=True)
    sums = [sum(column) for column in columns]
    return sums[0] / sums[1], sums[2], sums[3]


def below(bound):
    """A sibling at the first position whose confidence is below a bound."""
    return lambda kept, _: next((at for at, (_, sure) in enumerate(kept) if sure < bound), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("traces", type=pathlib.Path)
    parser.add_argument("cost")
    arguments = parser.parse_args()
    cost = Cost(arguments.cost)
    paths = sorted(arguments.traces.glob("*.parquet"))
    texts = [read(path) for path in paths]
    for task in ["overall", *sorted({text.task for text in texts})]:
        group = [text for text in texts if task in ("overall", text.task)]
        off = total(group, cost, 0, 0, lambda *_: None)[0]
        for stop in (0, 0.3, 0.5):
            plain = {}
            for depth in range(1, 9):
                plain[depth] = total(group, cost, depth, stop, lambda *_: None)[0]
            depth = max(plain, key=plain.get)
            bounds = [twentieth / 20 for twentieth in range(1, 21)]
            found = {bound: total(group, cost, depth, stop, below(bound)) for bound in bounds}
            bound = max(found, key=found.get)
            rate, siblings, right = found[bound]
            known = total(group, cost, depth, stop, lambda _, place: place)[0]
            gain, most = (100 * (speed / plain[depth] - 1) for speed in (rate, known))
            print(
                f"{task:14} stop below {stop}: depth {depth}, {plain[depth] / off:.3f} x off; "
                f"siblings below {bound:.2f} {gain:+.2f} % ({right} right of {siblings}); "
                f"known {most:+.2f} %"
            )


if __name__ == "__main__":
    main()
