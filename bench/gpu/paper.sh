#!/usr/bin/env bash
# The paper's own setting on this machine, in under five minutes: the pair in FP16, INT8 and NF4
# with PyTorch's CUDA kernels, a few prompts, every gamma on each, and the controllers off, fixed:4
# and speckv. What is not recorded after BUDGET seconds (default 270) is left out; the same command
# with the same OUT goes on where it stopped.
#
#     bench/gpu/paper.sh [OUT] [CARRIED]
#
# OUT (default bench/gpu/out-paper) gets the grid, an evaluation per compression and a report;
# CARRIED is what paper_pack.sh made. PYTHON is the Python that has PyTorch, default python3.
# DEVICE=cpu COMPRESSIONS=fp32 tries the script without a GPU; MODELS names a folder with the
# Hugging Face folders `target` and `draft` in place of the GGUF files. GAMMAS, CONTROLLERS, TOKENS
# and PROMPTS (per task) make it longer or shorter.
set -euo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${1:-out-paper}")
carried=$(realpath -m "${2:-carried-paper}")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir -p "$out"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1

say() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

say "unpacking"
cat "$carried"/piece-* | tar -C "$place" -xf -
"${PYTHON:-python3}" -m venv --system-site-packages "$place/python"
# A Python of a virtual environment hands its packages on by this file.
"${PYTHON:-python3}" -c 'import site; print("\n".join(site.getsitepackages()))' \
    >"$(echo "$place"/python/lib/python3*/site-packages)/machine.pth"
# What the machine has stays: its PyTorch belongs to its driver.
"$place/python/bin/pip" install --no-index --find-links "$place/wheels" --no-deps \
    "$place"/wheels/{speckv,bitsandbytes,accelerate}-*.whl
"$place/python/bin/pip" install --no-index --find-links "$place/wheels" \
    'transformers>=5,<6' 'gguf<0.20' psutil

models=${MODELS:-$place/models}
if [ -z "${MODELS:-}" ]; then
    for model in draft target; do
        say "$model: GGUF to FP16"
        "$place/python/bin/python" "$place/paper_models.py" "$place/$model.gguf" "$models/$model"
    done
fi

say "grid"
status=0
timeout -s INT -k 5 "$((${BUDGET:-270} - SECONDS))" \
    "$place/python/bin/python" "$place/paper_grid.py" --target "$models/target" \
    --draft "$models/draft" --workload "$place/workloads" --output "$out/grid" \
    --compressions "${COMPRESSIONS:-fp16,int8,nf4}" --gammas "${GAMMAS:-0,2,4,8}" \
    --controllers "${CONTROLLERS:-off,fixed:4,speckv}" --max-tokens "${TOKENS:-48}" \
    --prompts-per-task "${PROMPTS:-1}" --device "${DEVICE:-cuda}" 2>&1 \
    | tee "$out/log.txt" || status=$?
case $status in
0) ;;
124 | 137)
    echo "stopped: the grid is not complete; the same command with the same OUT goes on"
    exit 1
    ;;
*) exit "$status" ;;
esac

say "report"
if [ -x "$place/speckv" ]; then
    evaluations=()
    for file in "$out"/grid/evaluation-*.json "$out"/evaluation-*.json; do
        [ -e "$file" ] && evaluations+=(--evaluation "$file")
    done
    "$place/speckv" report --grid "$out/grid" "${evaluations[@]}" --output "$out/report"
else
    echo "no speckv was carried; \`speckv report --grid $out/grid\` makes the report elsewhere"
fi
say "done"
