#!/usr/bin/env python3
"""What run.sh measured, as text: `table.py OUT`. A part that did not end is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def reports(out: Path, kind: str) -> list[tuple[str, dict[str, Any] | None]]:
    """Reports of a kind by name; nothing where its part failed or was stopped."""
    found: list[tuple[str, dict[str, Any] | None]] = []
    for path in sorted(out.glob(f"{kind}*.json")):
        try:
            found.append((path.stem, json.loads(path.read_text())))
        except (OSError, ValueError):
            found.append((path.stem, None))
    return found


def devices(report: dict[str, Any]) -> list[str]:
    """Each adapter with its read rate and what the self-test found."""
    lines = []
    for device in report["devices"]:
        rate = device["read_bytes_per_second"]
        reads = f"reads {rate / 1e9:.0f} GB/s" if rate else device["error"] or "not tested"
        exact = [
            f"{test['format']} {'exact' if test['accurate'] else 'WRONG'} to "
            f"{test['largest_tile']} rows"
            for test in device["self_test"]
        ]
        lines.append(f"{device['device']} {device['name']}: " + ", ".join([reads, *exact]))
    return lines


def curve(report: dict[str, Any]) -> list[str]:
    """t(1), its share of the read rate, and t(n) against t(1)."""
    passes = report["curves"][0]["passes"]
    ratios = {entry["rows"]: entry["ratio"]["median"] for entry in passes}
    jumps = [ratios[n + 1] / ratios[n] for n in range(1, 16)]
    return [
        f"{report['model']}: {report['pass_bytes'] / 1e9:.2f} GB per pass, "
        f"t(1) {passes[0]['milliseconds']['median']:.2f} ms, "
        f"{100 * report['curves'][0]['floor_share']['median']:.0f} % of "
        f"{report['read_rate']['median'] / 1e9:.0f} GB/s, "
        + ", ".join(f"t({n}) {ratios[n]:.2f}" for n in (2, 3, 5, 9, 17))
        + f", largest jump {max(jumps):.2f}"
    ]


def identity(report: dict[str, Any]) -> list[str]:
    """How many answers differ from plain decoding."""
    return [f"{report['mismatches']} of {report['comparisons']} answers differ"]


def speed(report: dict[str, Any]) -> list[str]:
    """Tokens per second of every setting."""
    stopped = ["stopped before its end"] if report["stopped"] else []
    return stopped + [
        f"{row['setting']} {row['tokens_per_second']:.1f} tokens per second"
        for row in report["settings"]
        if row["tokens_per_second"] is not None
    ]


def main() -> None:
    out = Path(sys.argv[1])
    kinds = {"devices": devices, "curve-": curve, "identity-": identity, "bench-": speed}
    for kind, text in kinds.items():
        for name, report in reports(out, kind):
            lines = text(report) if report else ["did not end"]
            for line in lines:
                print(f"{name}: {line}")


if __name__ == "__main__":
    main()
