#!/usr/bin/env bash
# How the demo's learning rate was chosen: 1,600 of its training rows are trained on, the other 400 looked at.
# usage: scripts/choose-demo-rate.sh EPOCHS RATE...      (after `make demo` has prepared output/demo-data)
set -euo pipefail
cd "$(dirname "$0")/.."

EPOCHS=${1:?epochs, then learning rates}
shift
ROWS=output/demo-data/train.jsonl
[ -s "$ROWS" ] || { echo "$ROWS is not there: run \`make demo\` first" >&2; exit 2; }
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
# Every fifth row, of either label alike: the file holds one label's rows and then the other's.
awk 'NR % 5 == 0' "$ROWS" > "$WORK/held-out.jsonl"
awk 'NR % 5 != 0' "$ROWS" > "$WORK/train.jsonl"
for rate in "$@"; do
    target/release/qwen-tui sft --config configs/demo.json --model_id_or_path "${BASE:-demo/base}" --output_dir "$WORK/out" \
        --custom_train_dataset_path "$WORK/train.jsonl" --custom_val_dataset_path "$WORK/held-out.jsonl" \
        --num_train_epochs "$EPOCHS" --learning_rate "$rate" --acc_strategy sentence --eval_steps 50 --save_steps 100 \
        2> "$WORK/log" > "$WORK/out.txt" || { cat "$WORK/log" >&2; exit 1; }
    run=$(sed -n 's/^run_dir: //p' "$WORK/out.txt")
    grep eval_loss "$run/logging.jsonl" | python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
print("rate %s, %s epochs:" % tuple(sys.argv[1:3]), "  ".join("%d: %.3f" % (r["global_step"], r["eval_acc"]) for r in rows))
' "$rate" "$EPOCHS"
done
