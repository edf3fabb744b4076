"""What the measurements were taken on."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

# Runnable tasks, on average over the last minute, above which another process is computing.
QUIET_LOAD = 0.7


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
        "llama_build": llama_build(programs["llama"]) if "llama" in programs else None,
    }


def version(program):
    """What a program says to `--version`, on whichever stream."""
    ended = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines()]
    return "; ".join(line for line in lines if line)


def llama_build(program):
    """The build of llama.cpp: what the variable LLAMA_VERSION says, else the number of `--version`,
    else "unknown".

    A build out of a source package, without its history, calls itself version 0; only its package
    knows better."""
    if said := os.environ.get("LLAMA_VERSION"):
        return said
    match = re.search(r"version: (\d+)", version(program))
    return (
        match.group(1)
        if match and int(match.group(1))
        else "unknown: set LLAMA_VERSION to the version of its package"
    )


class Quiet:
    """Checks before each turn, while the benchmark runs nothing, whether other processes
    compute."""

    def __init__(self, say, load=os.getloadavg, busy_cores=None):
        self.say, self.load, self.busy_cores = say, load, busy_cores or busy_cores_for_a_second

    def before(self, turn):
        """What to note of a turn. The load average of a minute still holds our own last turn, so
        where it is high a second of the processors' own count decides.
        """
        load = self.load()[0]
        cores = self.busy_cores() if load > QUIET_LOAD else None
        busy = load > QUIET_LOAD and (cores is None or cores > QUIET_LOAD)
        if busy:
            seen = "" if cores is None else f" and {cores:.1f} cores are busy"
            self.say(
                f"WARNING: the load average is {load:.2f}{seen} before {turn}, while the benchmark runs nothing: another process is computing, and the numbers of this turn are not to be trusted"
            )
        return {
            "load_before": round(load, 2),
            "busy_cores_before": None if cores is None else round(cores, 2),
            "busy": busy,
        }


def busy_cores_for_a_second(sleep=time.sleep, path="/proc/stat"):
    """Cores that are not idle during a second; None where the system does not count them."""

    def count():
        numbers = [int(number) for number in _line(path, "cpu ").split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]  # all, idle and waiting for disks

    try:
        before = count()
        sleep(1.0)
        after = count()
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    every = after[0] - before[0]
    return None if every <= 0 else (os.cpu_count() or 1) * (1 - (after[1] - before[1]) / every)


def _line(path, start):
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith(start)), None)


def _memory():
    value = _field("/proc/meminfo", "MemTotal")
    return int(value.split()[0]) * 1024 if value else None


def _field(path, name):
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)
