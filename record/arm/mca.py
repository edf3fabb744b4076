#!/usr/bin/env python3
"""Cycles of the product kernels' inner loops on ARM processors, as llvm-mca models them.

    RUSTC=/usr/bin/rustc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \\
        cargo rustc -p speckv-cpu --lib --release --target aarch64-unknown-linux-gnu \\
        --target-dir target/arm -- --emit asm -C symbol-mangling-version=v0 -C codegen-units=1
    record/arm/mca.py target/arm/aarch64-unknown-linux-gnu/release/deps/speckv_cpu-*.s

Prints a Markdown table. A loop's iteration takes 32 columns of so many rows of weights with all rows
of activations; a number of cycles is per 32 weights of one row. Bytes per cycle are those of packed
weights. All data is taken to be in the nearest cache. Needs LLVM 19 (`llvm-mca-19`,
`llvm-cxxfilt-19`).
"""

import re
import subprocess
import sys

PROCESSORS = ["neoverse-n1", "neoverse-v2", "apple-m1"]
# The instruction set that each processor has.
SETS = {
    "neoverse-n1": ["neon", "dotprod"],
    "neoverse-v2": ["neon", "dotprod", "i8mm"],
    "apple-m1": ["neon", "dotprod"],
}
BYTES = {"Q4_0": 18, "Q8_0": 34, "Q4K": 18, "Q6K": 26.25}  # of 32 weights
ROWS = [1, 4, 8]
PRODUCTS = re.compile(r"\b(sdot|smmla|smlal2?|smull2?)\b")
ITERATIONS = 200


def demangled(names):
    text = subprocess.run(
        ["llvm-cxxfilt-19"], input="\n".join(names), capture_output=True, text=True, check=True
    )
    return text.stdout.splitlines()


def functions(path):
    """Lines of every function of a file, by mangled name."""
    found, name = {}, None
    for line in open(path):
        start = re.match(r"^(_R\w+):", line)
        if start:
            name = start.group(1)
            found[name] = []
        elif line.startswith(".Lfunc_end"):
            name = None
        elif name:
            found[name].append(line.rstrip())
    return found


def instructions(lines):
    return [line for line in lines if line.startswith("\t") and not line.startswith("\t.")]


def inner_loop(lines):
    """The shortest loop with products of bytes: from a label to a branch back to it."""
    labels, best = {}, None
    for number, line in enumerate(lines):
        label = re.match(r"^(\.L\w+):", line)
        if label:
            labels[label.group(1)] = number
            continue
        branch = re.match(r"^\t(?:b\.?\w*|cbn?z|tbn?z)\t(?:.*, )?(\.L\w+)$", line)
        if branch and branch.group(1) in labels:
            body = instructions(lines[labels[branch.group(1)] + 1 : number + 1])
            products = sum(bool(PRODUCTS.search(line)) for line in body)
            if products and (best is None or len(body) < len(best)):
                best = body
    return best


def cycles(body, processor):
    text = subprocess.run(
        ["llvm-mca-19", "-mtriple=aarch64", f"-mcpu={processor}", "-mattr=+dotprod,+i8mm",
         f"-iterations={ITERATIONS}"],
        input="\n".join(body) + "\n", capture_output=True, text=True, check=True,
    ).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", text).group(1)) / ITERATIONS


def main():
    tile = re.compile(
        r"tiles_(neon|dotprod|i8mm)::tile::<.*Neon<.*, (\d+)\w*>, .*format::(\w+), (\d+)\w*>"
    )
    kernels = {}
    for path in sys.argv[1:]:
        found = functions(path)
        for name, readable in zip(found, demangled(found)):
            match = tile.search(readable)
            if match:
                isa, vectors, form, rows = match.groups()
                kernels[isa, form, int(rows)] = (int(vectors), found[name])
    columns = [(rows, what) for rows in ROWS for what in ("cycles", "bytes/cycle")]
    head = ["processor", "instructions", "type"]
    print(" | ".join(["|", *head, *(f"{what}, {rows} rows" for rows, what in columns), "|"]))
    print("|" + " --- |" * (len(head) + len(columns)))
    for processor in PROCESSORS:
        for isa in SETS[processor]:
            for form, size in BYTES.items():
                cells = [processor, isa, form]
                for rows in ROWS:
                    vectors, lines = kernels[isa, form, rows]
                    body = inner_loop(lines)
                    taken = cycles(body, processor) / (4 * vectors)
                    cells += [f"{taken:.2f}", f"{size / taken:.1f}"]
                print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
