#!/usr/bin/env bash
# Collects what run.sh needs on a machine with a GPU, no network and no compiler: the release
# program, the test programs of the GPU backend, the Vulkan loader, and models.
#
#     bench/gpu/pack.sh [FOLDER] [MODEL.gguf..]
#
# FOLDER (default bench/gpu/carried) then holds pieces of at most 60 MB. Run it on Linux with Rust
# and, for the loader, apt.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-bench/gpu/carried}
[ $# -gt 0 ] && shift
mkdir -p "$folder"
whole=$(mktemp -d)
trap 'rm -rf "$whole"' EXIT

cargo build --release -p speckv-cli
cp target/release/speckv "$whole/"
# The path of each test program is the third word of cargo's "Executable" lines.
cargo test --release -p speckv-gpu --no-run 2>&1 | sed -n 's/.*Executable tests\/\([a-z_]*\)\.rs (\(.*\))/\1 \2/p' \
    | while read -r name path; do cp "$path" "$whole/test-$name"; done
strip "$whole"/* || true

if command -v apt-get >/dev/null; then
    (cd "$whole" && apt-get download libvulkan1 >/dev/null && dpkg-deb -x libvulkan1*.deb loader)
    find "$whole/loader" -name 'libvulkan.so*' -exec cp -a {} "$whole/" \;
    rm -rf "$whole"/loader "$whole"/*.deb
fi
for model in "$@"; do cp "$model" "$whole/"; done

rm -f "$folder"/piece-*
tar -C "$whole" -czf - . | split -b 60000000 - "$folder/piece-"
ls -l "$folder"
