import json
import os
import stat
import sys
import tempfile
import textwrap
import types
import unittest
from pathlib import Path

import compare
import llama_server
import speckv_run
from llama_server import LlamaServer, ServerFailed
from speckv_run import RunFailed, SpeckvRun
from workload import Prompt

PROMPT = Prompt("code-7", "code", "Be brief.", "--why?")

# The fields that llama-server (build 11434) answers with, shortened.
ANSWER = {
    "choices": [{"message": {"role": "assistant", "content": "yes"}}],
    "timings": {
        "cache_n": 0,
        "prompt_n": 41,
        "prompt_ms": 100.0,
        "prompt_per_second": 410.0,
        "predicted_n": 40,
        "predicted_ms": 2000.0,
        "predicted_per_second": 20.0,
        "draft_n": 30,
        "draft_n_accepted": 24,
    },
}

SERVER = f"""
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
arguments = sys.argv[1:]
port = int(arguments[arguments.index("--port") + 1])
assert arguments[arguments.index("--host") + 1] == "127.0.0.1"
assert not [name for name in os.environ if name.startswith("LLAMA_ARG_")]
class Handler(BaseHTTPRequestHandler):
    loading = 2
    def log_message(self, *_): pass
    def say(self, status, value):
        self.send_response(status); self.end_headers(); self.wfile.write(json.dumps(value).encode())
    def do_GET(self):
        Handler.loading -= 1
        self.say(503 if Handler.loading > 0 else 200, {{}})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["temperature"] != 0 or body["cache_prompt"] is not False:
            return self.say(400, body)
        answer = {ANSWER!r}
        answer["choices"][0]["message"]["content"] = json.dumps(body["messages"])
        self.say(200, answer)
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

SPECKV = """
import json, sys
arguments = sys.argv[1:]
if "broken" in arguments:
    sys.exit("error: it is broken")
text = sys.stdin.read()
system = arguments[arguments.index("--system") + 1] if "--system" in arguments else None
stats = {"tokens_per_second": 30.0, "prompt_tokens_per_second": 300.0, "drafted": 8, "accepted": 5}
print(json.dumps({"text": json.dumps([system, text]), "tokens": [1, 2, 3], "prompt_tokens": 41,
"stats": stats}))
"""


class EnginesTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.options = types.SimpleNamespace(
            model="T",
            draft="D",
            threads=2,
            context=512,
            max_tokens=40,
            start_limit=20,
            answer_limit=20,
        )

    def program(self, name, source):
        path = Path(self.folder.name, name)
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(source)}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def test_a_server_lives_as_long_as_its_block_and_answers_become_samples(self):
        os.environ["LLAMA_ARG_THREADS"] = "7"
        self.addCleanup(os.environ.pop, "LLAMA_ARG_THREADS")
        with LlamaServer(self.program("server", SERVER), "llama:draft-3", self.options) as server:
            process = server.process
            server.warm_up()
            sample = server.answer(PROMPT, 2)
        self.assertIsNotNone(process.returncode, "the process is over")
        self.assertEqual(
            (sample.setting, sample.engine, sample.round, sample.prompt),
            ("llama:draft-3", "llama", 2, "code-7"),
        )
        self.assertEqual(
            (sample.prompt_tokens, sample.tokens, sample.tokens_per_second), (41, 40, 20.0)
        )
        self.assertEqual((sample.drafted, sample.accepted), (30, 24))
        roles = [(message["role"], message["content"]) for message in json.loads(sample.text)]
        self.assertEqual(roles, [("system", "Be brief."), ("user", "--why?")])

    def test_a_server_that_ends_at_once_is_reported_with_its_words(self):
        program = self.program("server", "print('no such model'); raise SystemExit(1)")
        with self.assertRaisesRegex(ServerFailed, "no such model"):
            LlamaServer(program, "llama:plain", self.options).__enter__()

    def test_a_server_that_never_gets_ready_is_ended(self):
        self.options.start_limit = 1
        server = LlamaServer(
            self.program("server", "import time; time.sleep(60)"), "llama:plain", self.options
        )
        with self.assertRaises(ServerFailed):
            server.__enter__()
        self.assertIsNotNone(server.process.returncode)

    def test_an_answer_without_drafts_has_none(self):
        timings = {
            name: value for name, value in ANSWER["timings"].items() if not name.startswith("draft")
        }
        sample = llama_server.sample(ANSWER | {"timings": timings}, "llama:plain", 0, PROMPT)
        self.assertEqual((sample.drafted, sample.accepted), (0, 0))

    def test_speckv_reads_the_prompt_from_standard_input(self):
        runner = SpeckvRun(self.program("speckv", SPECKV), "speckv:fixed-4", self.options)
        sample = runner.answer(PROMPT, 1)
        self.assertEqual(json.loads(sample.text), ["Be brief.", "--why?"])
        self.assertEqual(
            (sample.tokens, sample.tokens_per_second, sample.drafted, sample.accepted),
            (3, 30.0, 8, 5),
        )

    def test_a_failing_speckv_is_reported_with_its_words(self):
        self.options.model = "broken"
        runner = SpeckvRun(self.program("speckv", SPECKV), "speckv:off", self.options)
        with self.assertRaisesRegex(RunFailed, "it is broken"):
            runner.warm_up()

    def test_every_round_runs_every_setting_on_every_prompt_and_is_kept(self):
        self.options.settings = ["llama:plain", "speckv:off", "speckv:fixed-2"]
        self.options.rounds, self.options.seed = 2, 5
        binaries = {
            "llama": self.program("server", SERVER),
            "speckv": self.program("speckv", SPECKV),
        }
        prompts, kept = [PROMPT, Prompt("math-1", "math", None, "1+1?")], []
        samples = compare.measure(
            self.options,
            prompts,
            binaries,
            lambda _: None,
            lambda s, t: kept.append((len(s), len(t))),
        )
        self.assertEqual(kept, [(6, 3), (12, 6)])
        self.assertEqual(len({(s.setting, s.round, s.prompt) for s in samples}), 12)
        self.assertEqual(list(dict.fromkeys(s.setting for s in samples)), self.options.settings)
        text = compare.report(samples)
        self.assertIn("all tasks: best setting of llama llama:plain", text)
        self.assertIn("1.50 (1.50-1.50)", text, "30 tokens per second against 20")


if __name__ == "__main__":
    unittest.main()
