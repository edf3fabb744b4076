"""Makes PyTorch's wheel from the package index importable on a machine without a GPU, without three
gigabytes of CUDA libraries.

That wheel is built for CUDA and names a dozen of NVIDIA's libraries that the loader wants to see
before anything runs, though nothing in them is called where there is no device. This writes
libraries of these names next to PyTorch's own: each function that PyTorch asks of them is there and
returns an error code. The CUDA runtime itself is the one exception: `torch.cuda.is_available()`
asks it how many devices there are, so the real one (2 MB) is installed beside.

    pip install --no-deps torch nvidia-cuda-runtime && python .ci/support/cuda_stubs.py VENV

For tests on the CPU only; with a GPU, install PyTorch as it is. Needs binutils and a C compiler.
"""

from __future__ import annotations

import collections
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REAL = ("libcudart.",)


def libraries(venv: Path) -> list[Path]:
    return sorted(venv.glob("lib/python*/site-packages/torch/lib/*.so"))


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def missing(files: list[Path]) -> set[str]:
    """Names of libraries that some file needs and neither PyTorch nor the system has."""
    here = {file.name for file in files[0].parent.iterdir()}
    known = set(re.findall(r"^\t(\S+) ", output("ldconfig", "-p"), re.MULTILINE))
    needed = set(
        re.findall(
            r"NEEDED.*\[(.+?)\]", "".join(output("readelf", "-dW", str(file)) for file in files)
        )
    )
    return {name for name in needed - here - known if not name.startswith(REAL)}


def wanted(files: list[Path], names: set[str]) -> dict[str, dict[str, set[str]]]:
    """library -> version -> functions that PyTorch asks of it. A symbol says the version that it
    wants; which library has that version says the file's table.
    """
    asked: dict[str, dict[str, set[str]]] = {name: collections.defaultdict(set) for name in names}
    for file in files:
        owners: dict[str, str] = {}
        owner = ""
        for line in output("readelf", "-VW", str(file)).splitlines():
            if found := re.search(r"File: (\S+)", line):
                owner = found[1]
            elif (found := re.search(r"Name: (\S+)\s+Flags", line)) and owner:
                owners[found[1]] = owner
        needed = [
            name
            for name in re.findall(r"NEEDED.*\[(.+?)\]", output("readelf", "-dW", str(file)))
            if name in names
        ]
        for symbol, version in re.findall(
            r"\s[Uw] (\w+)(?:@(\S+))?$", output("nm", "-D", str(file)), re.MULTILINE
        ):
            if owners.get(version) in names:
                asked[owners[version]][version].add(symbol)
            elif not version:
                for name in needed:
                    # A library without versions: its functions carry its name.
                    stem = re.match(r"lib([a-zA-Z]+)", name)
                    if stem and symbol.lower().startswith(
                        stem[1].lower().removesuffix("lt").split("_")[0]
                    ):
                        asked[name][""].add(symbol)
    return asked


def build(folder: Path, name: str, versions: dict[str, set[str]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        functions = sorted({symbol for symbols in versions.values() for symbol in symbols})
        source = Path(scratch, "stub.c")
        source.write_text(
            "".join(f"int {function}(void) {{ return 1; }}\n" for function in functions)
            or "typedef int none;\n"
        )
        script = Path(scratch, "versions.map")
        script.write_text(
            "".join(
                f"{version} {{ global: {'; '.join(sorted(symbols))}; }};\n"
                for version, symbols in sorted(versions.items())
                if version and symbols
            )
        )
        command = [
            "cc",
            "-shared",
            "-fPIC",
            "-w",
            "-fno-builtin",
            str(source),
            f"-Wl,-soname,{name}",
            "-o",
            str(folder / name),
        ]
        if script.stat().st_size:
            command.append(f"-Wl,--version-script={script}")
        subprocess.run(command, check=True)


def main() -> None:
    files = libraries(Path(sys.argv[1]))
    if not files:
        sys.exit(f"no PyTorch in {sys.argv[1]}")
    names = missing(files)
    for name, versions in sorted(wanted(files, names).items()):
        build(files[0].parent, name, versions)
    print(f"{len(names)} stand-ins for CUDA libraries beside {files[0].parent}")


if __name__ == "__main__":
    main()
