"""Step records and evaluations from transformers, read by the laboratory that they are for."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny

import speckv

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Target, draft, and a workload of four prompts."""
    root = tmp_path_factory.mktemp("pair")
    work = root / "work"
    work.mkdir()
    for task in ("code", "chat"):
        lines = [
            {
                "id": f"{task}-0{n}",
                "task": task,
                "split": "test",
                "prompt": f"Say {task} {n} {n} {n}.",
            }
            for n in (1, 2)
        ]
        (work / f"{task}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return tiny.write(root / "target", seed=3), tiny.write(root / "draft", seed=3, noise=0.15), work


def paper_grid(
    folders: tuple[Path, Path, Path], out: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    target, draft, work = folders
    command = [
        sys.executable, EXAMPLES / "paper_grid.py", "--target", target, "--draft", draft, "--workload", work, "--output", out,
        "--device", "cpu", "--compressions", "fp32", "--gammas", "0,2,4", "--max-tokens", "16", "--split", "all", *more,
    ]  # fmt: skip
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


@pytest.fixture(scope="module")
def recorded(folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grid")
    done = paper_grid(folders, out, "--controllers", "off,fixed:4,speckv")
    assert done.returncode == 0, done.stderr
    return out


def rows_of(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_script_records_every_gamma_on_every_prompt(recorded):
    rows = rows_of(recorded / "steps.csv")
    texts: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        key = (row["prompt_id"], row["gamma"])
        texts.setdefault(key, []).extend(int(token) for token in row["tokens"].split())
        assert (
            int(row["gamma"]) >= int(row["drafted"]) >= int(row["verified"]) >= int(row["accepted"])
        )
        assert float(row["total_seconds"]) >= float(row["verify_seconds"]) > 0
    prompts = {"code-01", "code-02", "chat-01", "chat-02"}
    assert set(texts) == {(prompt, gamma) for prompt in prompts for gamma in ("0", "2", "4")}
    for prompt in prompts:
        assert texts[prompt, "0"] == texts[prompt, "2"] == texts[prompt, "4"], (
            "greedy: the same text whatever gamma"
        )
    assert {row["compression"] for row in rows} == {"fp32"}
    assert any(int(row["accepted"]) > 0 for row in rows) and all(
        row["acceptance_rate"] == "" for row in rows if row["gamma"] == "0"
    )
    settings = json.loads((recorded / "run.json").read_text())["settings"]
    assert settings["target"]["shape"] == {
        "architecture": "qwen2",
        "layers": 2,
        "hidden": 64,
        "vocab_size": tiny.VOCAB,
    }


def test_a_recording_that_was_done_is_not_done_again_and_another_one_is_refused(folders, recorded):
    before = {path: path.stat().st_mtime_ns for path in (recorded / "blocks").iterdir()}
    again = paper_grid(folders, recorded)
    assert again.returncode == 0 and "4 were there" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (recorded / "blocks").iterdir()} == before
    other = paper_grid(folders, recorded, "--seed", "7")
    assert other.returncode != 0 and "hint: " in other.stderr and "seed" in other.stderr


def test_the_reports_of_the_command_line_read_records_and_evaluation(recorded, run, tmp_path):
    said = run(
        "report",
        "--grid",
        recorded,
        "--evaluation",
        recorded / "evaluation-fp32.json",
        "--output",
        tmp_path / "report",
    )
    page = (tmp_path / "report" / "report.html").read_text()
    assert "fp32" in page and "speckv" in page, said
    evaluation = recorded / "evaluation-fp32.json"
    compared = run("evaluate", "--saved", evaluation, "--saved", evaluation)
    assert "speckv" in compared


def test_the_evaluation_says_what_was_measured(recorded):
    evaluation = json.loads((recorded / "evaluation-fp32.json").read_text())
    assert [side["name"] for side in evaluation["sides"]] == ["off", "fixed:4", "speckv"]
    assert evaluation["mismatches"] == 0 and len(evaluation["prompts"]) == 4
    assert [verdict["of"] for verdict in evaluation["verdicts"]] == ["fixed:4", "speckv"]
    for side in evaluation["sides"]:
        assert all(cell["tokens"] == 16 and cell["seconds"] > 0 for cell in side["cells"])
    off = evaluation["sides"][0]["gamma_histogram"]
    assert off == [64]


@pytest.mark.parametrize("compression", ["int8", "nf4"])
def test_targets_that_bitsandbytes_quantizes_are_recorded_on_the_cpu(
    folders, tmp_path, compression
):
    """On the CPU its kernels are others than on a GPU: this is about loading, caches and records,
    not about their numbers.
    """
    for package in ("bitsandbytes", "accelerate"):
        pytest.importorskip(
            package, reason=f"{package} is not installed: `pip install bitsandbytes accelerate`"
        )
    # Its NF4 on the CPU takes rows of whole blocks of 64.
    target, draft = (
        tiny.write(tmp_path / f"noise {noise}", seed=3, noise=noise, feed_forward=128)
        for noise in (0.0, 0.15)
    )
    done = paper_grid(
        (target, draft, folders[2]), tmp_path / "g", "--compressions", f"fp32,{compression}"
    )
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "g" / "steps.csv")
    texts: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        texts.setdefault((row["compression"], row["gamma"]), []).extend(row["tokens"].split())
    assert len(texts) == 2 * 3
    for name in ("fp32", compression):
        assert 0 < len(texts[name, "0"]) <= 4 * 16
        assert texts[name, "0"] == texts[name, "2"] == texts[name, "4"], (
            "greedy: the same text whatever gamma"
        )
    if compression == "nf4":
        assert texts["fp32", "0"] != texts["nf4", "0"], "another model than the uncompressed one"
    assert any(int(row["accepted"]) > 0 for row in rows if row["compression"] == compression)


def test_without_bitsandbytes_the_script_says_what_to_install(folders, tmp_path, monkeypatch):
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "bitsandbytes.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(missing))
    done = paper_grid(folders, tmp_path / "g", "--compressions", "nf4")
    assert done.returncode != 0
    assert (
        "nf4 needs bitsandbytes" in done.stderr
        and "hint: pip install bitsandbytes accelerate" in done.stderr
    )


def test_records_that_contradict_their_settings_are_refused(tmp_path):
    facts = {"name": "m", "sha256": "0", "bytes": 0, "compression": "by row",
             "shape": {"architecture": "qwen2", "layers": 1, "hidden": 8, "vocab_size": 9}}  # fmt: skip
    settings = {"target": facts, "draft": None, "draft_compression": "asis", "draft_head": None, "gammas": [0, 2],
                "max_tokens": 4, "threads": 1, "seed": 1}  # fmt: skip
    with pytest.raises(speckv.ArgumentError, match="settings"):
        speckv.StepGrid(tmp_path / "a", {"gammas": [1]})
    grid = speckv.StepGrid(tmp_path / "b", settings)
    controller = speckv.Controller("off")
    controller.plan(3)
    record = controller.observe(0, 5)
    options: dict[str, Any] = {"task": "code", "split": "test", "temperature": 0.0}
    with pytest.raises(speckv.ArgumentError, match="gammas"):
        grid.save("fp32", "code-01", [1, 2, 3], answers=[(0, 0, [record], [["x"]])], **options)
    with pytest.raises(speckv.ArgumentError, match="piece"):
        grid.save(
            "fp32",
            "code-01",
            [1, 2, 3],
            answers=[(0, 0, [record], [[]]), (2, 1, [record], [["x"]])],
            **options,
        )
    with pytest.raises(speckv.ArgumentError, match="names a file"):
        grid.holds("../fp32", "code-01", [1])
    assert not grid.holds("fp32", "code-01", [1, 2, 3])
    grid.save(
        "fp32",
        "code-01",
        [1, 2, 3],
        answers=[(0, 0, [record], [["x"]]), (2, 1, [record], [["x"]])],
        **options,
    )
    assert grid.holds("fp32", "code-01", [1, 2, 3]) and grid.assemble() == 2
    with pytest.raises(speckv.FileError, match="same id"):
        grid.holds("fp32", "code-01", [1, 2, 4])
