"""The servers, all with the same number of slots. They run side by side, and all but the one that
is asked are idle.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

from llama_server import LlamaServer, ServerFailed  # noqa: E402


class Llama(LlamaServer):
    """`llama-server` under one setting, with as many slots as the largest number of clients; `-c`
    is the context of all slots together.
    """

    def __init__(self, binary, setting, options):
        super().__init__(binary, setting, options)
        for flag, value in (("-np", options.slots), ("-c", options.context * options.slots)):
            self.command[self.command.index(flag) + 1] = str(value)

    def more(self, _):
        """Extra fields of requests: none, settings are flags."""
        return {}


class Speckv:
    """`speckv serve`, one for all of its settings: who decides how far to draft is part of each
    request.
    """

    def __init__(self, binary, options):
        self.options = options
        self.command = [
            binary,
            "serve",
            "--quiet",
            "--model",
            options.model,
            "--draft",
            options.draft,
            "--port",
            "0",
        ]
        self.command += [
            "--ctx",
            str(options.context),
            "--parallel",
            str(options.slots),
            "--threads",
            str(options.threads),
        ]
        self.command += [
            "--kv-memory",
            str(options.kv_memory),
            "--queue",
            str(max(64, options.slots)),
            "--recalibrate",
        ]

    def more(self, setting):
        """Extra fields of requests: the controller, `fixed-4` for `fixed:4`."""
        return {"speculation": {"controller": setting.split(":", 1)[1].replace("fixed-", "fixed:")}}

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("http://"):
            self._end()
            said = self._said()
            self.log.close()
            raise ServerFailed(f"speckv serve did not start; it said:\n{said}")
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
