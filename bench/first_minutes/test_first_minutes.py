"""The script with a made-up speckv."""

import io
import json
import os
import stat
import sys
import tempfile
import textwrap
import unittest
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import first_minutes

# Look-up costs 3 % in all tasks and gains 50 % in editing.
SPECKV = f"""#!{sys.executable}
import json, os, sys
arguments = sys.argv[1:]
if arguments[0] == "models":
    here, absent = {{"path": "a.gguf", "state": "ready"}}, {{"path": "b.gguf", "state": "absent"}}
    print(json.dumps({{"folder": "/models", "models": [here, absent]}}))
elif arguments[0] == "run":
    assert os.environ["SPECKV_MODELS"] == "/models" and os.path.isdir(os.environ["XDG_CACHE_HOME"])
    print("drafting: small.gguf (found on this machine) and look-up", file=sys.stderr)
    print(json.dumps({{"draft": "small.gguf+ngram", "stats": {{"tokens_per_second": 50.0}}}}))
else:
    assert arguments[0] == "bench" and arguments[arguments.index("--controllers") + 1] == "speckv"
    editing = "editing" in arguments
    assert arguments[arguments.index("-d") + 1] == ("small.gguf" if editing else "ngram")
    value, low, high = (1.5, 1.25, 1.7) if editing else (0.97, 0.96, 0.99)
    ratio = {{"value": value, "low": low, "high": high}}
    print(json.dumps({{
        "subject": {{"prompts": 8, "max_tokens": 64, "command": ["speckv"], "machine": "m"}},
        "mismatches": 0, "stopped": False,
        "settings": [
            {{"setting": "off", "tokens_per_second": 50.0, "to_off": None}},
            {{"setting": "speckv", "tokens_per_second": 75.0, "to_off": ratio}},
        ],
    }}))
"""


class FirstMinutes(unittest.TestCase):
    def test_every_model_has_both_questions_and_a_broken_bound_shows(self):
        with tempfile.TemporaryDirectory() as folder:
            program, output = Path(folder) / "speckv", Path(folder) / "out.json"
            program.write_text(textwrap.dedent(SPECKV), encoding="utf-8")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            said = io.StringIO()
            with redirect_stdout(said), redirect_stderr(io.StringIO()):
                status = first_minutes.main(
                    ["--speckv", os.fspath(program), "--output", os.fspath(output)]
                )
            rows = json.loads(output.read_text(encoding="utf-8"))["rows"]
        self.assertEqual(status, 1)
        self.assertEqual(
            [(row["workload"], row["holds"]) for row in rows],
            [("editing", "not certain"), ("all tasks", "no")],
        )
        self.assertTrue(rows[0]["drafting"].startswith("drafting: small.gguf"))
        self.assertIn(
            "| a.gguf | editing | small.gguf+ngram | 8 | 50.0 | 75.0 | 1.500 (1.250 to 1.700) "
            "| 1.3 | not certain |",
            said.getvalue(),
        )

    def test_the_plan_fits_its_time_or_is_the_least_that_has_an_interval(self):
        prompts, tokens = first_minutes.plan(100, 50, 1, 8)
        self.assertEqual((prompts, tokens), (8, 128))
        prompts, tokens = first_minutes.plan(100, 50, 5, 8)
        self.assertLessEqual(2 * 5 * prompts * (tokens + 25) / 50, 70)
        self.assertEqual(first_minutes.plan(1, 1, 5, 8), (2, 32))
        self.assertEqual(first_minutes.plan(1, 1, 1, 8), (6, 32))

    def test_a_bound_holds_for_certain_by_its_interval(self):
        def holds(value, low):
            report = {
                "subject": {"prompts": 8, "max_tokens": 64, "command": [], "machine": "m"},
                "mismatches": 0,
                "stopped": False,
                "settings": [
                    {"setting": "off", "tokens_per_second": 1.0},
                    {
                        "setting": "speckv",
                        "tokens_per_second": 1.0,
                        "to_off": {"value": value, "low": low, "high": None},
                    },
                ],
            }
            return first_minutes.result(report, 1.3)["holds"]

        self.assertEqual(
            [holds(1.5, 1.4), holds(1.5, 1.1), holds(1.5, None), holds(1.2, 1.1)],
            ["yes", "not certain", "not certain", "no"],
        )


if __name__ == "__main__":
    unittest.main()
