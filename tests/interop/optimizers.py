"""Steps of the optimizers that transformers' Trainer makes, as figures for engine/tests/data/optimizers.json.

    pip install torch==2.11.0 transformers==4.36.2 numpy
    python tests/interop/optimizers.py > engine/tests/data/optimizers.json

A small model with a weight of each kind; gradients of the wide range that training has. The parameters are listed as
the engine lays them out: those with weight decay first.
"""

import json
from types import SimpleNamespace

import torch
import transformers
from transformers import Trainer
from transformers.training_args import OptimizerNames


class RMSNorm(torch.nn.Module):
    """A norm of a class that transformers does not know, as the one in modeling_qwen.py is."""

    def __init__(self, size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size))


def model():
    torch.manual_seed(7)
    made = torch.nn.Module()
    made.wte = torch.nn.Embedding(9, 5)
    made.ln_1 = RMSNorm(5)
    made.c_attn = torch.nn.Linear(5, 15)
    made.c_proj = torch.nn.Linear(5, 5, bias=False)
    return made


def gradients(parameters, steps):
    """Of sizes from 1e-9 to 10; rows of the embedding whose token did not come are zero."""
    generator = torch.Generator().manual_seed(11)
    for _ in range(steps):
        found = []
        for p in parameters:
            scale = 10 ** (torch.rand(p.shape, generator=generator) * 10 - 9)
            found.append(torch.randn(p.shape, generator=generator) * scale)
        found[0][3:5] = 0
        yield found


def numbers(tensors):
    # Nine digits are a float32 exactly.
    return [float(f"{x:.9g}") for t in tensors for x in t.detach().flatten().tolist()]


def case(optim, learning_rates, weight_decay, betas, eps):
    made = model()
    named = dict(made.named_parameters())
    # The method needs nothing of a trainer.
    decayed = [n for n in Trainer.get_decay_parameter_names(None, made) if n in named]
    order = [n for n in named if n in decayed] + [n for n in named if n not in decayed]
    args = SimpleNamespace(
        optim=OptimizerNames(optim), optim_args=None, learning_rate=learning_rates[0],
        adam_beta1=betas[0], adam_beta2=betas[1], adam_epsilon=eps,
    )
    make, settings = Trainer.get_optimizer_cls_and_kwargs(args)
    groups = [
        {"params": [named[n] for n in order if n in decayed], "weight_decay": weight_decay},
        {"params": [named[n] for n in order if n not in decayed], "weight_decay": 0.0},
    ]
    optimizer = make(groups, **settings)
    parameters = [named[n] for n in order]
    steps = []
    for rate, found in zip(learning_rates, gradients(parameters, len(learning_rates))):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for p, gradient in zip(parameters, found):
            p.grad = gradient.clone()
        optimizer.step()
        steps.append(numbers(parameters))
    return {
        "optim": optim, "weight_decay": weight_decay, "betas": betas, "eps": eps,
        "decayed": [n for n in order if n in decayed], "theta": steps,
    }


RATES = [5e-3, 1e-2, 1e-2, 7e-3, 4e-3, 0.0]
CASES = [
    ("adamw_torch", RATES, 0.1, [0.9, 0.999], 1e-8),
    ("adamw_torch", RATES, 0.0, [0.8, 0.95], 1e-3),
    ("adamw_torch_fused", RATES, 0.1, [0.9, 0.999], 1e-8),
    ("adamw_hf", RATES, 0.1, [0.9, 0.999], 1e-8),
    ("adamw_hf", RATES, 0.1, [0.8, 0.95], 1e-3),
    ("sgd", RATES, 0.1, [0.9, 0.999], 1e-8),
    ("adafactor", RATES, 0.1, [0.9, 0.999], 1e-8),
]
named = dict(model().named_parameters())
named = {n: p for n, p in named.items() if "bias" not in n} | {n: p for n, p in named.items() if "bias" in n}
print(json.dumps({
    "made_by": f"torch {torch.__version__}, transformers {transformers.__version__}, on a CPU, by optimizers.py",
    "names": list(named), "shapes": [list(p.shape) for p in named.values()], "start": numbers(named.values()),
    "learning_rates": RATES, "gradients": [numbers(found) for found in gradients(list(named.values()), len(RATES))],
    "cases": [case(*c) for c in CASES],
}, separators=(",", ":")).replace('{"optim"', '\n{"optim"').replace(',"gradients"', ',\n"gradients"'))
