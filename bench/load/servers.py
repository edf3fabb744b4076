"""The two servers with the same number of slots, one at a time."""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

from llama_server import LlamaServer, ServerFailed  # noqa: E402


class Llama(LlamaServer):
    """`llama-server` with as many slots as the largest number of clients; the context is per slot."""

    def __init__(self, binary, setting, options):
        super().__init__(binary, setting, options)
        for flag, value in (("-np", options.slots), ("-c", options.context * options.slots)):
            self.command[self.command.index(flag) + 1] = str(value)
        self.more = {}


class Speckv:
    """`speckv serve`; who decides how far to draft is part of each request."""

    def __init__(self, binary, setting, options):
        self.setting, self.options = setting, options
        name = setting.split(":", 1)[1]
        self.more = {"speculation": {"controller": name.replace("fixed-", "fixed:")}}
        self.command = [binary, "serve", "--quiet", "--model", options.model, "--draft", options.draft, "--port", "0"]
        self.command += ["--ctx", str(options.context), "--parallel", str(options.slots), "--threads", str(options.threads)]
        self.command += ["--kv-memory", str(options.kv_memory)]

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("http://"):
            self._end()
            raise ServerFailed(f"{self.setting}: speckv serve did not start; it said:\n{self._said()}")
        self.port = int(line.strip().rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        self._end()
        self.log.close()

    def _said(self):
        self.log.seek(0)
        return "\n".join(self.log.read().decode(errors="replace").splitlines()[-15:])

    def _end(self):
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
