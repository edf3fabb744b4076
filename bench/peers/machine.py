"""What the measurements were taken on."""

import os
import platform
import subprocess
from pathlib import Path


def describe(programs):
    """Machine, system and versions; `programs` maps names to paths."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {name: version(path) for name, path in programs.items()},
    }


def version(program):
    """What a program says to `--version`, on whichever stream."""
    ended = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines()]
    return "; ".join(line for line in lines if line)


def _memory():
    value = _field("/proc/meminfo", "MemTotal")
    return int(value.split()[0]) * 1024 if value else None


def _field(path, name):
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)
