"""Draws README's picture from a record: tokens per second against plain decoding, by task.

python3 docs/images/speed_by_task.py record/2026-11-26-epyc-zen5-qwen2.5-coder/bench-test.txt
"""

import pathlib
import re
import sys

ROWS = [  # setting in the record, label, colour
    ("fixed:3", "best fixed gamma (3)", "#9aa5b1"),
    ("entropy:adaedl", "best other rule (AdaEDL)", "#5b7fa6"),
    ("speckv", "SpecKV", "#c2571a"),
]
WIDTH, LEFT, BAR, GAP, TOP, SCALE = 760, 130, 13, 18, 64, 170  # pixels; SCALE: of a ratio of 1


def table(text):
    """The record's table of ratios to plain decoding: {setting: [(value, low, high), ...]},
    tasks."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("to off"))
    tasks = lines[start].split()[2:]
    ratios = {}
    for line in lines[start + 1 :]:
        cells = re.findall(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", line)
        if len(cells) == len(tasks):
            ratios.setdefault(line.split()[0], [tuple(map(float, cell)) for cell in cells])
    return tasks, ratios


def svg(tasks, ratios):
    """The picture: a group of bars per task, with 95 % intervals."""
    group = len(ROWS) * BAR + GAP
    height = TOP + len(tasks) * group + 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13" '
        'aria-label="Tokens per second against plain decoding, by task">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="22" font-size="15" fill="#1f2933">'
        "Tokens per second against plain decoding, prompts not counted</text>",
    ]
    for index, (_, label, colour) in enumerate(ROWS):
        x = 12 + index * 210
        out.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{x + 18}" y="45" fill="#1f2933">{label}</text>')
    bottom = TOP + len(tasks) * group
    for tick in range(4):
        x = LEFT + tick * SCALE
        stroke = "#52606d" if tick == 1 else "#d5dbe1"
        out.append(f'<line x1="{x}" x2="{x}" y1="{TOP - 6}" y2="{bottom}" stroke="{stroke}"/>')
        out.append(
            f'<text x="{x}" y="{bottom + 18}" text-anchor="middle" fill="#3e4c59">{tick} x</text>'
        )
    for number, task in enumerate(tasks):
        y = TOP + number * group
        middle = y + len(ROWS) * BAR / 2 + 4
        out.append(
            f'<text x="{LEFT - 10}" y="{middle:.0f}" text-anchor="end" fill="#1f2933">{task}</text>'
        )
        for index, (setting, _, colour) in enumerate(ROWS):
            value, low, high = ratios[setting][number]
            at = y + index * BAR
            ends = (LEFT + low * SCALE, LEFT + high * SCALE, at + BAR / 2 - 1)
            out.append(
                f'<rect x="{LEFT}" y="{at}" width="{value * SCALE:.1f}" height="{BAR - 2}" '
                f'fill="{colour}"/>'
            )
            out.append(
                f'<line x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{ends[2]}" y2="{ends[2]}" '
                'stroke="#1f2933"/>'
            )
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(__file__).with_suffix(".svg")
    target.write_text(svg(*table(source.read_text())))
    print(target)
