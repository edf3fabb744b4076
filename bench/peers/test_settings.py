import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import compare
import workload
from settings import LLAMA_ALL, SPECKV_ALL, UnknownSetting, arguments, parse


class SettingsTest(unittest.TestCase):
    def test_names_stand_for_command_lines(self):
        self.assertEqual(arguments("llama:plain", "T", "D"), ["-m", "T"])
        self.assertEqual(arguments("llama:ngram", "T", "D"), ["-m", "T", "--spec-default"])
        draft = "-m T -md D --spec-type draft-simple --spec-draft-n-max 5 --spec-draft-p-min 0.75"
        self.assertEqual(arguments("llama:draft-5-p0.75", "T", "D"), draft.split())
        self.assertEqual(arguments("llama:draft-5", "T", "D")[-1], "0")
        self.assertEqual(arguments("speckv:off", "T", "D"), ["--model", "T", "--draft", "none"])
        fixed = ["--model", "T", "--draft", "D", "--controller", "fixed-4"]
        self.assertEqual(arguments("speckv:fixed-4", "T", "D"), fixed)
        self.assertIn("ngram", arguments("speckv:ngram/fixed-4", "T", "D"))
        for controller in ("speckv", "entropy:adaedl", "chain+fixed:4", "confidence:0.4"):
            self.assertEqual(arguments(f"speckv:{controller}", "T", "D"), fixed[:-1] + [controller])

    def test_the_default_lists_cover_what_is_compared(self):
        self.assertEqual(len(parse("llama", ",".join(LLAMA_ALL))), 2 + 8 * 2)
        self.assertEqual(len(parse("speckv", ",".join(SPECKV_ALL))), 11)
        self.assertIn("speckv", SPECKV_ALL, "the default controller is what users get")

    def test_unknown_names_are_refused(self):
        for name in ("draft", "draft-0", "draft-3-p2", "spec", "plain "[:-1] + "x"):
            with self.assertRaises(UnknownSetting, msg=name):
                parse("llama", name)
        for name in ("Fixed", "model/fixed-4", "ngram/", "--json", ":adaedl", "+fixed", "fixed 4"):
            with self.assertRaises(UnknownSetting, msg=name):
                parse("speckv", name)

    def test_a_name_given_twice_runs_once(self):
        self.assertEqual(parse("llama", "plain, plain,,ngram"), ["llama:plain", "llama:ngram"])


class OptionsTest(unittest.TestCase):
    def options(self, *more):
        with tempfile.NamedTemporaryFile() as file:
            return compare.parse_arguments(["--model", file.name, "--draft", file.name, *more])

    def test_quick_is_three_settings_and_two_prompts(self):
        options = self.options("--quick")
        self.assertEqual((len(options.settings), options.rounds), (3, 1))
        self.assertEqual(len(options.tasks.split(",")) * options.prompts_per_task, 2)

    def test_an_empty_list_leaves_an_engine_out(self):
        self.assertEqual(self.options("--llama", "", "--speckv", "off").settings, ["speckv:off"])

    def test_nonsense_is_refused(self):
        for more in (["--llama", "x"], ["--llama", "", "--speckv", ""], ["--rounds", "0"]):
            with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
                self.options(*more)


class WorkloadTest(unittest.TestCase):
    def test_the_first_test_prompts_of_each_task_are_taken(self):
        with tempfile.TemporaryDirectory() as folder:
            for task in ("math", "code"):
                lines = [
                    {
                        "id": f"{task}-{i}",
                        "task": task,
                        "split": split,
                        "system": None,
                        "prompt": f"p{i}",
                    }
                    for i, split in enumerate(("train", "test", "test", "test"))
                ]
                Path(folder, f"{task}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
            ids = [prompt.id for prompt in workload.load(folder, 2)]
            self.assertEqual(ids, ["code-1", "code-2", "math-1", "math-2"])
            self.assertEqual([p.id for p in workload.load(folder, 1, tasks=["math"])], ["math-1"])
            with self.assertRaises(FileNotFoundError):
                workload.load(folder, 2, split="none")


if __name__ == "__main__":
    unittest.main()
