#!/usr/bin/env python3
"""Cycles of the product kernels' inner loops on ARM processors, as llvm-mca models them.

    RUSTC=/usr/bin/rustc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \\
        cargo test -p speckv-cpu --lib --no-run --release --target aarch64-unknown-linux-gnu
    record/arm/mca.py target/aarch64-unknown-linux-gnu/release/deps/speckv_cpu-HASH

Prints a Markdown table. A loop's iteration takes 32 columns of so many rows of weights with all
rows of activations; a number of cycles is per 32 weights of one row. Bytes per cycle are those of
packed weights. All data is taken to be in the nearest cache. Needs LLVM 19 (Debian's `llvm-19`).
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
PRODUCT = {"neon": "Base", "dotprod": "DotProd", "i8mm": "MatMul"}
BYTES = {"Q4_0": 18, "Q8_0": 34, "Q4K": 18, "Q6K": 26.25}  # of 32 weights
ROWS = [1, 4, 8]
PRODUCTS = re.compile(r"\b(sdot|smmla|smlal2?|smull2?)\b")
ITERATIONS = 200


def output(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout


def functions(path):
    """Start, end and generic arguments of every tile kernel, from the debug information."""
    pattern = re.compile(
        r"DW_AT_low_pc\s+\((0x\w+)\)\s+DW_AT_high_pc\s+\((0x\w+)\)(?:(?!DW_TAG)[\s\S])*?"
        r'DW_AT_name\s+\("tile<speckv_cpu::kernels::neon::Neon<speckv_cpu::kernels::neon::(\w+), '
        r'(\d+)>, speckv_cpu::kernels::format::(\w+), (\d+)>"\)'
    )
    return pattern.findall(output("llvm-dwarfdump-19", "--debug-info", path))


def inner_loop(path, start, end):
    """The shortest loop with products of bytes: from an address to a branch back to it."""
    text = output(
        "llvm-objdump-19",
        "-d",
        "--no-show-raw-insn",
        f"--start-address={start}",
        f"--stop-address={end}",
        path,
    )
    lines = re.findall(r"^\s*([0-9a-f]+):\s+(\S.*)$", text, re.M)
    numbers = {int(address, 16): number for number, (address, _) in enumerate(lines)}
    best = None
    for number, (address, code) in enumerate(lines):
        branch = re.match(r"(?:b\.?\w*|cbn?z|tbn?z)\s.*?(0x[0-9a-f]+) <", code)
        first = branch and numbers.get(int(branch.group(1), 16))
        if first is None or first > number:
            continue
        body = [code for _, code in lines[first : number + 1]]
        if any(map(PRODUCTS.search, body)) and (best is None or len(body) < len(best)):
            best = body
    if best is None:
        sys.exit(f"no loop with products from {start} to {end}: were they not inlined?")
    # Targets of branches have no addresses of their own in the model.
    return [re.sub(r"0x[0-9a-f]+ <.*", "loop", code) for code in best]


def cycles(body, processor):
    text = output(
        "llvm-mca-19",
        "-mtriple=aarch64",
        f"-mcpu={processor}",
        "-mattr=+dotprod,+i8mm",
        f"-iterations={ITERATIONS}",
        text="loop:\n" + "\n".join(body) + "\n",
    )
    return int(re.search(r"Total Cycles:\s+(\d+)", text).group(1)) / ITERATIONS


def main():
    path = sys.argv[1]
    kernels = {}
    for start, end, products, vectors, form, rows in functions(path):
        kernels[products, form, int(rows)] = (int(vectors), start, end)
    columns = [(rows, what) for rows in ROWS for what in ("cycles", "bytes/cycle")]
    head = ["processor", "instructions", "type"]
    print("| " + " | ".join([*head, *(f"{what}, {rows} rows" for rows, what in columns)]) + " |")
    print("|" + " --- |" * (len(head) + len(columns)))
    for processor in PROCESSORS:
        for isa in SETS[processor]:
            for form, size in BYTES.items():
                cells = [processor, isa, form]
                for rows in ROWS:
                    # A single row has no pair for `smmla`.
                    products = "DotProd" if (isa, rows) == ("i8mm", 1) else PRODUCT[isa]
                    vectors, start, end = kernels[products, form, rows]
                    body = inner_loop(path, start, end)
                    # A loop over 16 columns, where the two halves of a block are not unrolled,
                    # counts twice; what is done once per block is then left out.
                    pairs = -(-rows // 2) if products == "MatMul" else rows
                    expected = 8 * vectors * pairs
                    found = sum(bool(PRODUCTS.search(code)) for code in body)
                    share = 1 if products == "Base" else expected / found
                    taken = share * cycles(body, processor) / (4 * vectors)
                    cells += [f"{taken:.2f}", f"{size / taken:.1f}"]
                print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
