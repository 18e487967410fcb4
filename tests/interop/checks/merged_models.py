"""`qwen-tui merge-lora`: the merged model's logits are those of the base with the adapter, in Python too."""

import qwen1
from bench import Bench
from bench import run as run_program
from checks.peft_adapters import OURS


def run(bench: Bench) -> None:
    for layout in ["swift", "peft"]:
        for name, flags in OURS.items():
            checkpoint = bench.train(f"{layout}, {name}", "--tuner_backend", layout, *flags)
            done = run_program([bench.tui, "merge-lora", "--ckpt_dir", checkpoint])
            merged = checkpoint.parent / f"{checkpoint.name}-merged"
            if done.returncode != 0 or not (merged / "model.safetensors").is_file():
                bench.same(f"{layout}, {name}", False, (done.stdout + done.stderr).strip()[-200:])
                continue
            expected = bench.ours(checkpoint)
            bench.close(f"{layout}, {name}: here", bench.ours(None, merged), expected)
            bench.close(f"{layout}, {name}: in Python", bench.theirs(qwen1.load(merged)), expected)
