#!/usr/bin/env bash
# Tests and measures the GPU backend on this machine, in under four minutes on a data-centre GPU:
# the crate's tests, self-test and read rate, curves of shapes without weights, and, where a model
# was carried, identity with 1 to 16 draft tokens per step and the speed of plain decoding, fixed
# gammas and the default controller.
#
#     bench/gpu/run.sh [OUT] [CARRIED]
#
# OUT (default bench/gpu/out) gets JSON and logs; CARRIED is what pack.sh made. Without it, the
# program of target/release and the models beside this script are used. SHAPES names the shapes,
# default "1.5b 7b 32b"; GPU the number of the adapter, default 0; ROUNDS, PROMPTS and TOKENS make
# it shorter, DRAFT (default self:q4_0, the model's own copy) says what drafts.
set -uo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${1:-out}")
carried=$(realpath -m "${2:-carried}")
root=$(realpath ../..)
mkdir -p "$out"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
failed=0

say() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

# part NAME SECONDS CMD...: runs a part; its output is kept and shown where it fails.
part() {
    local name=$1 most=$2
    shift 2
    if timeout "$most" "$@" >"$out/$name.json" 2>"$out/$name.log"; then
        echo "ok: $name"
    else
        echo "FAILED: $name"
        tail -n 20 "$out/$name.log"
        failed=1
    fi
}

if compgen -G "$carried/piece-*" >/dev/null; then
    cat "$carried"/piece-* | tar -C "$place" -xzf -
else
    cp "$root/target/release/speckv" "$place/"
    for model in "$root"/bench/gpu/*.gguf; do [ -e "$model" ] && cp "$model" "$place/"; done
fi
export PATH="$place:$PATH" LD_LIBRARY_PATH="$place:${LD_LIBRARY_PATH:-}"
export XDG_CACHE_HOME="$place/cache"
# Containers often have NVIDIA's driver without the file that tells the loader of it.
if ! ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json >/dev/null 2>&1; then
    printf '{"file_format_version":"1.0.0","ICD":{"library_path":"libGLX_nvidia.so.0",%s}}' \
        '"api_version":"1.3.0"' >"$place/nvidia_icd.json"
    export VK_ICD_FILENAMES="$place/nvidia_icd.json" VK_DRIVER_FILES="$place/nvidia_icd.json"
fi
gpu=gpu:${GPU:-0}

say "devices"
part devices 60 speckv devices --test --json
speckv devices

say "tests"
for test in "$place"/test-*; do
    [ -x "$test" ] || continue
    part "$(basename "$test")" 90 "$test" --nocapture
done
grep -h '^test .*FAILED\|panicked\|skipped' "$out"/test-*.json "$out"/test-*.log 2>/dev/null

say "curves"
for shape in ${SHAPES-1.5b 7b 32b}; do
    part "curve-$shape" 90 speckv bench --curve "synthetic:$shape" --device "$gpu" \
        --rounds "${ROUNDS:-5}" --context 128,2048 --prompt 256 --json
done

for model in "$place"/*.gguf; do
    [ -e "$model" ] || continue
    name=$(basename "$model" .gguf)
    say "$name"
    pair=(--model "$model" --draft "${DRAFT:-self:q4_0}" --device "$gpu")
    part "identity-$name" 90 speckv identity "${pair[@]}" --prompts "${PROMPTS:-2}" \
        --gammas 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16 --controllers speckv \
        --threads-list 1 --max-tokens "${TOKENS:-48}" --json
    part "bench-$name" 90 speckv bench "${pair[@]}" --prompts-per-task 1 \
        --max-tokens "${TOKENS:-48}" --gammas 1,2,4,8 --controllers off,speckv --json
done

say "table"
python3 table.py "$out" || echo "the figures are in $out"
say "done"
exit "$failed"
