"""Adapters from here to PEFT and from PEFT to here."""

import shutil
from pathlib import Path

import peft
import torch
from packaging import version
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

import qwen1
from bench import Bench, randomize

CURRENT = version.parse(peft.__version__) >= version.parse("0.8")

# Trainings here: the flags.
OURS = {
    "c_attn": ["--lora_rank", "4", "--lora_alpha", "12", "--lora_dropout_p", "0.1"],
    "some layers, all biases": ["--lora_target_modules", "attn.c_proj", "w2", "--lora_bias_trainable", "all"],
    "ALL, all biases, ln_f and lm_head whole": [
        "--lora_target_modules", "ALL", "--lora_bias_trainable", "all", "--lora_modules_to_save", "ln_f", "lm_head",
    ],
    "wte and ln_1 whole, alpha a fraction": ["--lora_modules_to_save", "wte", "ln_1", "--lora_alpha", "2.5"],
}  # fmt: skip

ALL = ["c_attn", "c_proj", "w1", "w2"]

# Adapters of PEFT's: the settings.
THEIRS = {
    "c_attn": dict(target_modules=["c_attn"], r=3, lora_alpha=16),
    "dropout, alpha below rank": dict(target_modules=["c_attn", "w1"], r=8, lora_alpha=2, lora_dropout=0.3),
    "ALL": dict(target_modules="all-linear" if CURRENT else ALL, r=2, lora_alpha=8),
    "bias all": dict(target_modules=["c_attn"], r=2, lora_alpha=4, bias="all"),
    "bias all, c_attn without LoRA": dict(target_modules=["mlp.c_proj"], r=2, lora_alpha=4, bias="all"),
    "bias lora_only": dict(target_modules=["c_attn", "w2"], r=2, lora_alpha=4, bias="lora_only"),
    "modules_to_save": dict(target_modules=["w1"], r=2, lora_alpha=4, modules_to_save=["ln_f", "lm_head", "wte"]),
    "initialized gaussian": dict(target_modules=["c_attn"], r=2, lora_alpha=4, init_lora_weights="gaussian"),
}

# Settings under which the weights mean something else: the word in our message.
VARIANTS = {
    "rank_pattern": dict(rank_pattern={"c_attn": 3}),
    "alpha_pattern": dict(alpha_pattern={"c_attn": 3}),
    "layers_to_transform": dict(layers_to_transform=[0]),
}
if CURRENT:
    VARIANTS |= {
        "use_rslora": dict(use_rslora=True),
        "use_dora": dict(use_dora=True),
        "lora_bias": dict(lora_bias=True),
        "exclude_modules": dict(exclude_modules=["h.0.attn.c_attn"]),
        "trainable_token_indices": dict(trainable_token_indices={"wte": [1, 2]}),
        "target_parameters": dict(target_parameters=["lm_head.weight"]),
    }


def run(bench: Bench) -> None:
    base = bench.ours(None)
    print(f"       PEFT {peft.__version__}")
    for name, flags in OURS.items():
        checkpoint = bench.train(f"peft, {name}", "--tuner_backend", "peft", *flags)
        ours = bench.ours(checkpoint)
        model = PeftModel.from_pretrained(qwen1.load(bench.model), str(checkpoint))
        bench.moved(name, ours, base)
        bench.close(f"from here, {name}", ours, bench.theirs(model))
        again = fresh(bench.work / "again")
        model.save_pretrained(str(again), safe_serialization=True)
        bench.close(f"from here, saved by PEFT and back, {name}", bench.ours(again), ours)

    for name, settings in THEIRS.items():
        model = adapter(bench, settings)
        made = model_to_disk(model, bench.work / "made")
        theirs = bench.theirs(model)
        bench.moved(name, theirs, base)
        # PEFT 0.7.1 neither trains nor saves the biases of lora_only; today's does both.
        biases = sum("bias" in key for key in load_file(made / "adapter_model.safetensors"))
        bench.close(f"from PEFT, {name}, {biases} biases" if biases else f"from PEFT, {name}", bench.ours(made), theirs)

    for word, settings in VARIANTS.items():
        model = adapter(bench, dict(target_modules=["c_attn"], r=2, lora_alpha=4) | settings)
        bench.refused(f"refused, {word}", model_to_disk(model, bench.work / "made"), "adapter_config.json", word)
    if not CURRENT:
        made = fresh(bench.work / "made")
        adapter(bench, THEIRS["c_attn"]).save_pretrained(str(made), safe_serialization=False)
        bench.refused("refused, a pickle", made, "adapter_model.bin", "pickle")


def adapter(bench: Bench, settings: dict) -> PeftModel:
    """A base with an adapter of PEFT's on it, as after a training."""
    torch.manual_seed(2)
    model = get_peft_model(qwen1.load(bench.model), LoraConfig(task_type="CAUSAL_LM", **settings))
    randomize(model)
    return model


def model_to_disk(model: PeftModel, directory: Path) -> Path:
    fresh(directory)
    model.save_pretrained(str(directory), safe_serialization=True)
    return directory


def fresh(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    return directory
