"""Models whose chat template is hostile: a server over one of them starts and answers, or ends with
an error, in bounded time and memory. Python's standard library only.
"""

import json
import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path

KEY = b"tokenizer.chat_template"
STRING = 8  # the type's number in GGUF

# A server over SmolLM2 loads and answers in two seconds; what a template takes comes on top.
SECONDS = 60
MEGABYTES = 300  # that a hostile template may take above a harmless one

HOSTILE = [
    "{{ ([0]*1000000000000)|max }}",
    "{{ ([0]*10000000000)|list }}",
    "{{ 'x'*10**12 }}",
    (
        "{% set ns = namespace(s='x') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}"
        "{% endfor %}{{ ns.s }}"
    ),
    "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ range(10**30)|sum }}",
    (
        "{% set ns = namespace(s=[0]) %}{% for i in range(90) %}{% set ns.s = [ns.s, ns.s] %}"
        "{% endfor %}{{ ns.s|tojson }}"
    ),
    "{{ '%1000000000000d' % 1 }}{{ 'x'|center(10**12) }}",
    (
        "{% for m in messages %}{% for i in range(99999) %}{{ m.content * 1000 }}"
        "{% endfor %}{% endfor %}"
    ),
    "{{ messages * 100000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ (((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1",
    "{{ raise_exception('no' * 10**8) }}",
]
HARMLESS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def place_of_template(head):
    """Where the text of a GGUF file's chat template begins, and its length in bytes."""
    at = head.index(struct.pack("<Q", len(KEY)) + KEY) + 8 + len(KEY)
    kind, length = struct.unpack_from("<IQ", head, at)
    if kind != STRING:
        raise ValueError(f"expected a string as the chat template, got the type {kind}")
    return at + 12, length


def padded(template, length):
    """A template of exactly so many bytes that does the same."""
    bytes_ = template.encode()
    if len(bytes_) + 5 > length:
        raise ValueError(
            f"expected a model with a template of {len(bytes_) + 5} bytes or more, got {length}"
        )
    return bytes_ + b"{#" + b" " * (length - len(bytes_) - 4) + b"#}"


def peak_megabytes(pid):
    """The most memory that a process has held."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1000
    return 0.0


class Loader:
    """Starts servers over copies of one model file."""

    def __init__(self, speckv, model, ask):
        """`ask`: sends a request to a URL and gives status and text."""
        self.speckv, self.ask = speckv, ask
        self.folder = Path(
            tempfile.mkdtemp(
                prefix="speckv-templates-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
            )
        )
        self.model = self.folder / "model.gguf"
        shutil.copyfile(model, self.model)
        with self.model.open("rb") as file:
            self.at, self.length = place_of_template(file.read(16 << 20))

    def close(self):
        shutil.rmtree(self.folder)

    def run(self, template):
        """What became of a server over the model with this template: `answered`, `refused` or `not
        started`; and its peak of memory.
        """
        with self.model.open("r+b") as file:
            file.seek(self.at)
            file.write(padded(template, self.length))
        command = [
            self.speckv,
            "serve",
            "--model",
            str(self.model),
            "--draft",
            "none",
            "--port",
            "0",
            "--ctx",
            "512",
            "--threads",
            "1",
        ]
        environment = {
            name: value for name, value in os.environ.items() if name != "SPECKV_API_KEY"
        }
        begun = time.monotonic()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        try:
            address = process.stdout.readline().strip()
            if not address:
                words = process.communicate(timeout=SECONDS)[1]
                if process.returncode != 1 or "hint: " not in words:
                    raise AssertionError(
                        f"{template!r}: ended with {process.returncode}: {words[-300:]}"
                    )
                return "not started", 0.0
            body = {
                "messages": [{"role": "user", "content": "Hi " * 20}],
                "max_tokens": 2,
                "temperature": 0,
            }
            status, text = self.ask(address, json.dumps(body).encode())
            peak = peak_megabytes(process.pid)
            if time.monotonic() - begun > SECONDS or status not in (200, 400):
                after = f"{time.monotonic() - begun:.0f} s"
                raise AssertionError(f"{template!r}: status {status} after {after}: {text[:300]}")
            return ("answered" if status == 200 else "refused"), peak
        finally:
            process.kill()
            process.communicate()

    def all(self):
        """Counts of outcomes, and the most megabytes above a server with a harmless template."""
        outcome, usual = self.run(HARMLESS)
        if outcome != "answered":
            raise AssertionError(f"a harmless template was {outcome}")
        counts, most = {}, 0.0
        for template in HOSTILE:
            outcome, peak = self.run(template)
            counts[outcome] = counts.get(outcome, 0) + 1
            most = max(most, peak - usual)
        if most > MEGABYTES:
            raise AssertionError(f"a hostile template took {most:.0f} MB")
        return {**counts, "most_megabytes": round(most, 1)}
