"""A Qwen-1 in plain PyTorch under the published names, for PEFT and SWIFT to put adapters on.

The modelling code that Qwen-1 is published with lies on no package registry. That this one computes the same is shown
by transformers' Qwen2 (checks/qwen2.py). Without dynamic NTK and log-n attention: rows stay within the context length.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

EPS = 1e-6
ROPE_BASE = 10000.0


class RMSNorm(nn.Module):
    def __init__(self, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * self.weight


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.size = config.num_attention_heads, config.kv_channels
        self.c_attn = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.c_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def rotated(self, x):
        """Queries or keys `[batch, seq, heads, size]`, turned by their positions."""
        half = torch.arange(0, self.size, 2, dtype=torch.float64) / self.size
        angles = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), ROPE_BASE**-half)
        angles = torch.cat([angles, angles], -1)[None, :, None, :]
        first, second = x.chunk(2, -1)
        turned = torch.cat([-second, first], -1)
        return x * angles.cos().to(x.dtype) + turned * angles.sin().to(x.dtype)

    def forward(self, x):
        batch, seq, hidden = x.shape
        q, k, v = (part.view(batch, seq, self.heads, self.size) for part in self.c_attn(x).split(hidden, -1))
        q, k, v = (part.transpose(1, 2) for part in (self.rotated(q), self.rotated(k), v))
        scores = q @ k.transpose(-1, -2) / self.size**0.5
        future = torch.ones(seq, seq, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(-1)
        return self.c_proj((weights @ v).transpose(1, 2).reshape(batch, seq, hidden))


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, width = config.hidden_size, config.intermediate_size // 2
        self.w1 = nn.Linear(hidden, width, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.c_proj = nn.Linear(width, hidden, bias=False)

    def forward(self, x):
        return self.c_proj(self.w1(x) * nn.functional.silu(self.w2(x)))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1, self.attn = RMSNorm(config.hidden_size), Attention(config)
        self.ln_2, self.mlp = RMSNorm(config.hidden_size), MLP(config)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.hidden_size)
        self.h = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.ln_f = RMSNorm(config.hidden_size)

    def forward(self, ids):
        x = self.wte(ids)
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class Qwen1(PreTrainedModel):
    """`[batch, seq]` token ids to logits `[batch, seq, vocab]`."""

    config_class = PretrainedConfig

    def __init__(self, config: PretrainedConfig):
        super().__init__(config)
        self.transformer = Transformer(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids=None, **_):
        return self.lm_head(self.transformer(input_ids))

    def prepare_inputs_for_generation(self, input_ids, **_):
        return {"input_ids": input_ids}

    def get_input_embeddings(self):
        return self.transformer.wte

    def get_output_embeddings(self):
        return self.lm_head


def load(directory: Path) -> Qwen1:
    """The model in a model directory, in fp32, not training."""
    keys = json.loads((directory / "config.json").read_text())
    model_type = keys.pop("model_type")
    config = PretrainedConfig(**keys)
    config.model_type = model_type
    model = Qwen1(config)
    model.load_state_dict(load_file(directory / "model.safetensors"))
    return model.float().eval()


def make(directory: Path, vocabulary: Path, hidden: int, layers: int, heads: int, width: int, seed: int) -> Path:
    """A model directory of random weights in the published layout."""
    ranks = sum(1 for line in vocabulary.read_text().splitlines() if line)
    # The special tokens follow; the published table has rows to spare as well.
    vocab = (ranks + 208 + 63) // 64 * 64
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape, std, mean=0.0):
        return mean + std * torch.randn(*shape, generator=generator)

    weights = {"transformer.wte.weight": normal(vocab, hidden, std=1.0)}
    for i in range(layers):
        at = f"transformer.h.{i}."
        weights[at + "ln_1.weight"] = normal(hidden, std=0.1, mean=1.0)
        weights[at + "attn.c_attn.weight"] = normal(3 * hidden, hidden, std=hidden**-0.5)
        weights[at + "attn.c_attn.bias"] = normal(3 * hidden, std=0.2)
        weights[at + "attn.c_proj.weight"] = normal(hidden, hidden, std=hidden**-0.5)
        weights[at + "ln_2.weight"] = normal(hidden, std=0.1, mean=1.0)
        weights[at + "mlp.w1.weight"] = normal(width, hidden, std=hidden**-0.5)
        weights[at + "mlp.w2.weight"] = normal(width, hidden, std=hidden**-0.5)
        weights[at + "mlp.c_proj.weight"] = normal(hidden, width, std=width**-0.5)
    weights["transformer.ln_f.weight"] = normal(hidden, std=0.1, mean=1.0)
    weights["lm_head.weight"] = normal(vocab, hidden, std=2 * hidden**-0.5)
    directory.mkdir(parents=True)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["QWenLMHeadModel"], "model_type": "qwen", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "kv_channels": hidden // heads, "intermediate_size": 2 * width,
        "vocab_size": vocab, "layer_norm_epsilon": EPS, "seq_length": 8192, "max_position_embeddings": 8192,
        "rotary_emb_base": int(ROPE_BASE), "rotary_pct": 1.0, "use_dynamic_ntk": True, "use_logn_attn": True,
        "scale_attn_weights": True, "no_bias": True, "attn_dropout_prob": 0.0, "emb_dropout_prob": 0.0,
        "tie_word_embeddings": False, "tokenizer_class": "QWenTokenizer", "fp32": True, "bf16": False, "fp16": False,
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    generation = {"chat_format": "raw", "eos_token_id": ranks, "pad_token_id": ranks, "max_new_tokens": 16}
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=2))
    (directory / "qwen.tiktoken").write_bytes(vocabulary.read_bytes())
    return directory
