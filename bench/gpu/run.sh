#!/usr/bin/env bash
# Tests and measures the GPU backend on this machine, in under four minutes on a data-centre GPU:
# tests, self-test, read rate, passes over shapes without weights, and, where a model was carried,
# answers with 0 to 16 draft tokens per step against plain decoding.
#
#     bench/gpu/run.sh [OUT] [CARRIED]
#
# OUT (default bench/gpu/out) gets JSON and logs; CARRIED is what pack.sh made. Without it, the
# programs of target/release are used. SHAPES names the shapes, default "1.5b 7b 32b"; GPU the
# number of the adapter, default 0.
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

if compgen -G "$carried/piece-*" >/dev/null; then
    cat "$carried"/piece-* | tar -C "$place" -xzf -
else
    cp "$root"/target/release/examples/{measure,speculate} "$place/" 2>/dev/null
    for model in "$root"/bench/gpu/*.gguf; do [ -e "$model" ] && cp "$model" "$place/"; done
fi
export PATH="$place:$PATH" LD_LIBRARY_PATH="$place:${LD_LIBRARY_PATH:-}" XDG_RUNTIME_DIR="$place"
export XDG_CACHE_HOME="$place/cache"
# Containers often have NVIDIA's driver without the file that tells the loader of it.
if ! ls /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json >/dev/null 2>&1; then
    printf '{"file_format_version":"1.0.0","ICD":{"library_path":"libGLX_nvidia.so.0",%s}}' \
        '"api_version":"1.3.0"' >"$place/nvidia_icd.json"
    export VK_ICD_FILENAMES="$place/nvidia_icd.json" VK_DRIVER_FILES="$place/nvidia_icd.json"
fi
gpu=${GPU:-0}

say "tests"
for test in "$place"/test-*; do
    [ -x "$test" ] || continue
    if timeout 90 "$test" --nocapture >"$out/$(basename "$test").log" 2>&1; then
        echo "ok: $(basename "$test")"
    else
        echo "FAILED: $(basename "$test")"
        failed=1
    fi
done
grep -h '^test .*FAILED\|panicked\|skipped' "$out"/test-*.log 2>/dev/null

say "passes"
shapes=${SHAPES-"1.5b 7b 32b"}
models=("$place"/*.gguf)
[ -e "${models[0]}" ] || models=()
# shellcheck disable=SC2086
if measure --gpu "$gpu" --rounds "${ROUNDS:-7}" "${models[@]}" \
    $(printf 'synthetic:%s ' $shapes) >"$out/measure.json" 2>"$out/measure.txt"; then
    cat "$out/measure.txt"
else
    cat "$out/measure.txt"
    failed=1
fi

for model in "${models[@]}"; do
    say "$(basename "$model"): speculation against plain decoding"
    if timeout 90 speculate --gpu "$gpu" "$model" >"$out/speculate.json"; then
        echo "ok: no answer differs"
    else
        echo "FAILED: speculate $(basename "$model")"
        failed=1
    fi
done
say "done"
exit "$failed"
