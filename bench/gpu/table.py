#!/usr/bin/env python3
"""What run.sh measured, as text: `table.py OUT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def read(path: Path) -> Any | None:
    """A report, or nothing where its part failed."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def curve(report: dict[str, Any]) -> str:
    """t(1), its share of the read rate, and t(n) against t(1)."""
    passes = report["curves"][0]["passes"]
    ratios = {entry["rows"]: entry["ratio"]["median"] for entry in passes}
    jumps = [ratios[n + 1] / ratios[n] for n in range(1, 16)]
    return (
        f"{report['model']}: {report['pass_bytes'] / 1e9:.2f} GB per pass, "
        f"t(1) {passes[0]['milliseconds']['median']:.2f} ms, "
        f"{100 * report['curves'][0]['floor_share']['median']:.0f} % of "
        f"{report['read_rate']['median'] / 1e9:.0f} GB/s, "
        + ", ".join(f"t({n}) {ratios[n]:.2f}" for n in (2, 3, 5, 9, 17))
        + f", largest jump {max(jumps):.2f}"
    )


def main() -> None:
    out = Path(sys.argv[1])
    for path in sorted(out.glob("curve-*.json")):
        if report := read(path):
            print(curve(report))
    for path in sorted(out.glob("identity-*.json")):
        if report := read(path):
            print(f"{path.stem}: {report['mismatches']} of {report['comparisons']} answers differ")
    for path in sorted(out.glob("bench-*.json")):
        if report := read(path):
            for row in report["settings"]:
                speed = row["tokens_per_second"]
                print(f"{path.stem}: {row['setting']} {speed:.1f} tokens per second")


if __name__ == "__main__":
    main()
