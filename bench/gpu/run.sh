#!/usr/bin/env bash
# Tests and measures the GPU backend on this machine, in under four minutes: self-test and read
# rate, identity with 1 to 16 draft tokens per step and the speed of plain decoding, fixed gammas
# and the default controller where a model was carried, curves of shapes without weights, and the
# crate's tests.
#
#     bench/gpu/run.sh [OUT] [CARRIED]
#
# OUT (default bench/gpu/out) gets JSON, logs and table.txt; CARRIED is what pack.sh made. Without
# it, the program of target/release and the models beside this script are used.
#
# Every stage has an end, in seconds after the start, and the whole ends before BUDGET (default
# 225): a part that would pass its stage's end is stopped there, and what it had written stays. With
# BUDGET=900, all ends are four times as late.
#
# SHAPES names the shapes, default "1.5b 7b 32b"; GPU the number of the adapter, default 0; ROUNDS,
# PROMPTS and TOKENS make it shorter, DRAFT (default self:q4_0, the model's own copy) says what
# drafts.
set -uo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${1:-out}")
carried=$(realpath -m "${2:-carried}")
root=$(realpath ../..)
budget=${BUDGET:-225}
mkdir -p "$out"
rm -f "$out"/*.json "$out"/*.log "$out"/table.txt
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
failed=0
end=0

# stage TITLE END: parts from here on end at END of 225 seconds.
stage() {
    end=$(($2 * budget / 225))
    printf '\n== %s (%s s of %s)\n' "$1" "$SECONDS" "$budget"
}

# part NAME CMD...: runs a part; its output is kept, and its log shown where it fails.
part() {
    local name=$1 left=$((end - SECONDS)) status
    shift
    if [ "$left" -lt 2 ]; then
        echo "NOT RUN: $name, no time is left for it"
        failed=1
        return
    fi
    # The interrupt lets a benchmark write what it has, when the pass under way has ended.
    timeout -s INT -k 8 "$left" "$@" >"$out/$name.json" 2>"$out/$name.log"
    status=$?
    case $status in
    0) echo "ok: $name" ;;
    124 | 137) echo "STOPPED: $name after $left s" ;;
    *)
        echo "FAILED: $name"
        tail -n 20 "$out/$name.log"
        ;;
    esac
    [ "$status" = 0 ] || failed=1
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
known() { compgen -G "/usr/share/vulkan/icd.d/$1.json" || compgen -G "/etc/vulkan/icd.d/$1.json"; }
lists() { ldconfig -p 2>/dev/null | grep -q libGLX_nvidia.so.0; }
if ! known '*nvidia*' >/dev/null && { lists || ! known '*' >/dev/null; }; then
    printf '{"file_format_version":"1.0.0","ICD":{"library_path":"libGLX_nvidia.so.0",%s}}' \
        '"api_version":"1.3.0"' >"$place/nvidia_icd.json"
    export VK_ICD_FILENAMES="$place/nvidia_icd.json" VK_DRIVER_FILES="$place/nvidia_icd.json"
fi
gpu=gpu:${GPU:-0}

stage "devices" 25
part devices speckv devices --test --json
timeout "$((budget / 10))" speckv devices

for model in "$place"/*.gguf; do
    [ -e "$model" ] || continue
    name=$(basename "$model" .gguf)
    pair=(--model "$model" --draft "${DRAFT:-self:q4_0}" --device "$gpu")
    stage "$name: identity" 75
    part "identity-$name" speckv identity "${pair[@]}" --prompts "${PROMPTS:-2}" \
        --gammas 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16 --controllers speckv \
        --threads-list 1 --max-tokens "${TOKENS:-48}" --json
    # fixed:16 drafts a step's tokens in one submission, confidence:0 the same tokens one by one.
    stage "$name: speed" 110
    part "bench-$name" speckv bench "${pair[@]}" --prompts-per-task 1 \
        --max-tokens "${TOKENS:-48}" --gammas 1,2,4,8,16 \
        --controllers off,speckv,confidence:0 --json
done

shapes=(${SHAPES-1.5b 7b 32b})
for number in "${!shapes[@]}"; do
    stage "curve of ${shapes[number]}" $((110 + 70 * (number + 1) / ${#shapes[@]}))
    part "curve-${shapes[number]}" speckv bench --curve "synthetic:${shapes[number]}" \
        --device "$gpu" --rounds "${ROUNDS:-5}" --context 128,2048 --prompt 256 --json
done

stage "tests" 220
for test in "$place"/test-*; do
    [ -x "$test" ] && part "$(basename "$test")" "$test" --nocapture
done
grep -h '^test .*FAILED\|panicked\|skipped' "$out"/test-*.json "$out"/test-*.log 2>/dev/null

stage "table" 225
python3 table.py "$out" | tee "$out/table.txt" || echo "the figures are in $out"
printf '\n== done (%s s of %s)\n' "$SECONDS" "$budget"
exit "$failed"
