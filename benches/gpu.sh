#!/usr/bin/env bash
# The benchmark on a machine with a GPU and PyTorch 2.11 (with transformers, peft and accelerate), where nothing is
# built: the programs are carried there, and use that PyTorch's libtorch.
#
#   benches/gpu.sh [--bin FOLDER] [--out FOLDER] [ARGUMENT OF qwen-tui bench...]
#
# --bin: where qwen-tui-engine is (target/release); --out: where bench.json and grow.json go (.).
# PYTHON names another python3; GROW=0 leaves the table of cost as work grows out.
set -euo pipefail

BIN=target/release OUT=. PYTHON=${PYTHON:-python3}
while [ $# -gt 0 ]; do
    case $1 in
        --bin) BIN=$2; shift 2 ;;
        --out) OUT=$2; shift 2 ;;
        *) break ;;
    esac
done
TORCH=$("$PYTHON" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')
export LD_LIBRARY_PATH="$TORCH/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
MODELS=$(mktemp -d)
trap 'rm -rf "$MODELS"' EXIT
mkdir -p "$OUT"

bench() { "$BIN/qwen-tui-engine" bench --device cuda --work "$MODELS" --json "$@"; }

bench --warmup 7 --rounds 4 --steps 4 --peers "$PYTHON" "$@" > "$OUT/bench.json"
cat "$OUT/bench.json"
if [ "${GROW:-1}" != 0 ]; then
    bench --grow "$@" > "$OUT/grow.json"
    cat "$OUT/grow.json"
fi
