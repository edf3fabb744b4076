"""A `llama-server` on loopback: started with the flags of a setting, asked, and ended again."""

import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from settings import arguments
from summary import Sample


class ServerFailed(RuntimeError):
    """The server did not start, or did not answer."""


def clean_environment():
    """The environment without the peer's variables, so that flags alone decide."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_ARG_")}


class LlamaServer:
    """Use as a context manager: the process lives as long as the block."""

    def __init__(self, binary, setting, options):
        self.setting = setting
        self.options = options
        self.command = [binary, *arguments(setting, options.model, options.draft)]
        threads, context = str(options.threads), str(options.context)
        self.command += [
            "-t",
            threads,
            "-tb",
            threads,
            "-c",
            context,
            "-np",
            "1",
            "--cache-ram",
            "0",
            "--no-webui",
            "--offline",
        ]

    def __enter__(self):
        for _ in range(3):  # another process may take the port before the server does
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            self.log = tempfile.TemporaryFile()
            address = ["--host", "127.0.0.1", "--port", str(self.port)]
            self.process = subprocess.Popen(
                self.command + address,
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=subprocess.STDOUT,
                env=clean_environment(),
            )
            try:
                if self._ready():
                    return self
            except BaseException:
                self._end()
                raise
            said = self._said()
            self._end()
            if "bind" not in said:
                break
        raise ServerFailed(f"{self.setting}: llama-server did not start; it said:\n{said}")

    def __exit__(self, *_):
        self._end()

    def _ready(self):
        """Waits until the model is loaded; False if the process ended or took too long."""
        until = time.monotonic() + self.options.start_limit
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.port}/health", timeout=5
                ) as answer:
                    if answer.status == 200:
                        return True
            except OSError:  # not there yet, or still loading
                time.sleep(0.2)
        return False

    def _said(self):
        self.log.seek(0)
        return "\n".join(self.log.read().decode(errors="replace").splitlines()[-15:])

    def _end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def warm_up(self):
        """One short answer, thrown away: first touch of memory and code."""
        self._ask("Count from one to five.", None, 8)

    def answer(self, prompt, round_number):
        """A prompt's sample."""
        return sample(
            self._ask(prompt.text, prompt.system, self.options.max_tokens),
            self.setting,
            round_number,
            prompt,
        )

    def _ask(self, text, system, max_tokens):
        messages = [{"role": "system", "content": system}] if system else []
        body = {
            "messages": messages + [{"role": "user", "content": text}],
            "temperature": 0,
            "max_tokens": max_tokens,
            "cache_prompt": False,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self.options.answer_limit) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ServerFailed(
                f"{self.setting}: {error}: {error.read().decode(errors='replace')}"
            ) from error
        except (OSError, ValueError) as error:
            raise ServerFailed(
                f"{self.setting}: no answer: {error}; the server said:\n{self._said()}"
            ) from error


def sample(answer, setting, round_number, prompt):
    """A sample of what `/v1/chat/completions` answered.

    `predicted_n / predicted_ms` counts the first token but not the pass that made it, which is part
    of `prompt_ms`: at 128 tokens the peer's speed comes out 0.8 % too high. It is taken as the peer
    reports it.
    """
    timings = answer["timings"]
    return Sample(
        setting=setting,
        engine="llama",
        round=round_number,
        prompt=prompt.id,
        task=prompt.task,
        prompt_tokens=timings["prompt_n"] + timings.get("cache_n", 0),
        tokens=timings["predicted_n"],
        tokens_per_second=timings["predicted_per_second"],
        prompt_tokens_per_second=timings["prompt_per_second"],
        drafted=timings.get("draft_n", 0),
        accepted=timings.get("draft_n_accepted", 0),
        text=answer["choices"][0]["message"]["content"] or "",
    )
