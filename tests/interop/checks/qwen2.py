"""transformers' Qwen2 keeps queries, keys and values apart and is written by others: the same mathematics with other
names. Our logits, and those of qwen1.py on which the other checks stand, must be Qwen2's.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM

import qwen1
from bench import ROOT, Bench

SHAPES = {"narrow": (32, 1, 2, 24), "wide": (96, 3, 3, 256), "many heads": (64, 2, 16, 100)}


def run(bench: Bench) -> None:
    for name, (hidden, layers, heads, width) in SHAPES.items():
        model = qwen1.make(bench.work / "shapes" / name, bench.vocabulary, hidden, layers, heads, width, seed=9)
        compare(bench, f"base, {name}", model)
    compare(bench, "base, the model of the other checks", bench.model)
    demo = ROOT / "demo" / "base"
    compare(bench, "base, the demo's (trained weights)", demo)

    # LoRA's arithmetic, done on the weights themselves.
    flags = ["--lora_rank", "4", "--lora_alpha", "12", "--lora_target_modules", "ALL", "--lora_bias_trainable", "all"]
    checkpoint = bench.train("merged", *flags)
    merged = qwen2(bench.model, checkpoint / "default")
    bench.moved("LoRA merged into the weights by hand", bench.theirs(merged), bench.ours(None))
    bench.close("LoRA merged into the weights by hand", bench.ours(checkpoint), bench.theirs(merged))


def compare(bench: Bench, name: str, model: Path) -> None:
    theirs = bench.theirs(qwen2(model))
    bench.close(f"{name}: ours", bench.ours(None, model), theirs)
    bench.close(f"{name}: qwen1.py", bench.theirs(qwen1.load(model)), theirs)


class Logits(torch.nn.Module):
    """Qwen2's logits alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        return self.model(input_ids=input_ids).logits


def qwen2(directory: Path, adapter: Path | None = None) -> Logits:
    """The Qwen-1 in a directory as a Qwen2, with SWIFT's adapter in `adapter` added to the weights."""
    keys = json.loads((directory / "config.json").read_text())
    weights = {name: tensor.float() for name, tensor in load_file(directory / "model.safetensors").items()}
    if adapter:
        merge(weights, adapter)
    hidden = keys["hidden_size"]
    renamed = {
        "model.embed_tokens.weight": weights["transformer.wte.weight"],
        "model.norm.weight": weights["transformer.ln_f.weight"],
        "lm_head.weight": weights["lm_head.weight"],
    }
    for i in range(keys["num_hidden_layers"]):
        ours, its = f"transformer.h.{i}.", f"model.layers.{i}."
        for kind in ["weight", "bias"]:
            parts = weights[f"{ours}attn.c_attn.{kind}"].split(hidden)
            for projection, part in zip(["q_proj", "k_proj", "v_proj"], parts, strict=True):
                renamed[f"{its}self_attn.{projection}.{kind}"] = part.clone()
        for there, here in [
            ("self_attn.o_proj", "attn.c_proj"), ("mlp.gate_proj", "mlp.w2"), ("mlp.up_proj", "mlp.w1"),
            ("mlp.down_proj", "mlp.c_proj"), ("input_layernorm", "ln_1"), ("post_attention_layernorm", "ln_2"),
        ]:  # fmt: skip
            renamed[f"{its}{there}.weight"] = weights[f"{ours}{here}.weight"]
    config = Qwen2Config(
        vocab_size=keys["vocab_size"], hidden_size=hidden, intermediate_size=keys["intermediate_size"] // 2,
        num_hidden_layers=keys["num_hidden_layers"], num_attention_heads=keys["num_attention_heads"],
        num_key_value_heads=keys["num_attention_heads"], max_position_embeddings=keys["seq_length"],
        rms_norm_eps=keys["layer_norm_epsilon"], rope_theta=float(keys["rotary_emb_base"]),
        tie_word_embeddings=False, attn_implementation="eager",
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).float()
    model.load_state_dict(renamed)
    return Logits(model)


def merge(weights: dict, adapter: Path) -> None:
    """Adds alpha / r * B A to the weights, and puts trained biases in the place of theirs."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    scale = config["lora_alpha"] / config["r"]
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith(".lora_A.default.weight"):
            module = name.removesuffix(".lora_A.default.weight")
            weights[f"{module}.weight"] += scale * tensors[f"{module}.lora_B.default.weight"] @ tensor
        elif name.endswith(".base_layer.bias"):
            weights[name.replace(".base_layer", "")] = tensor
