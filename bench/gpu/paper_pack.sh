#!/usr/bin/env bash
# Collects what paper.sh needs on a machine with a CUDA GPU, PyTorch and no network: wheels of
# speckv, bitsandbytes and what they ask for, the workload, the recorder, and two GGUF files.
#
#     bench/gpu/paper_pack.sh TARGET.gguf DRAFT.gguf [FOLDER]
#
# FOLDER (default bench/gpu/carried-paper) then holds pieces of at most 60 MB. Needs Rust, Python's
# venv and pip. PyTorch itself is not carried: it must be on the machine.
set -euo pipefail
target=$(realpath "$1")
draft=$(realpath "$2")
cd "$(dirname "$0")/../.."
folder=${3:-bench/gpu/carried-paper}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
mkdir -p "$folder"
whole=$(mktemp -d)
trap 'rm -rf "$whole"' EXIT
mkdir "$whole/wheels"

if [ -n "${WHEEL:-}" ]; then
    cp "$WHEEL" "$whole/wheels/"
else
    python3 -m venv "$whole/tools"
    "$whole/tools/bin/pip" install 'maturin>=1.9,<2'
    "$whole/tools/bin/maturin" build --release --manifest-path crates/speckv-py/Cargo.toml \
        --interpreter python3 --out "$whole/wheels"
    rm -rf "$whole/tools"
fi
# Without what they depend on, which is torch with its libraries for CUDA.
python3 -m pip download --no-deps --dest "$whole/wheels" 'accelerate>=1,<2' bitsandbytes==0.50.2
python3 -m pip download --dest "$whole/wheels" 'transformers>=5,<6' 'gguf<0.20' psutil
cp -r crates/speckv-lab/workloads "$whole/workloads"
cp crates/speckv-py/examples/paper_grid.py bench/gpu/paper_models.py "$whole/"
if [ -x target/release/speckv ]; then cp target/release/speckv "$whole/"; fi
ln -s "$target" "$whole/target.gguf"
ln -s "$draft" "$whole/draft.gguf"

rm -f "$folder"/piece-*
tar -C "$whole" -chf - . | split -b 60000000 - "$folder/piece-"
ls -l "$folder"
