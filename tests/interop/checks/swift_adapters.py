"""Adapters from here to SWIFT 1.5.3 and back, in SWIFT's layout and, as SWIFT itself writes it, in PEFT's."""

import json
import shutil
import sys
import types

import torch
import transformers
from safetensors.torch import load_file

import qwen1
from bench import Bench, randomize
from checks.peft_adapters import ALL, OURS

# A tuner of SWIFT's that is not used here takes this one name from ModelScope's library, which wants a dozen packages.
sys.modules["modelscope"] = types.ModuleType("modelscope")
sys.modules["modelscope"].AutoTokenizer = transformers.AutoTokenizer

from swift import LoRAConfig, LoraConfig, Swift  # noqa: E402

THEIRS = {
    "c_attn": dict(target_modules=["c_attn"], r=3, lora_alpha=16, lora_dtype="fp32"),
    "ALL, bias all": dict(target_modules=ALL, r=2, lora_alpha=8, bias="all", lora_dtype="fp32"),
    "modules_to_save": dict(target_modules=["w1"], r=2, lora_alpha=4, modules_to_save=["ln_f", "lm_head"]),
    "dropout, lora_dtype not set": dict(target_modules=["c_attn"], r=8, lora_alpha=2, lora_dropout=0.3),
}


def run(bench: Bench) -> None:
    base = bench.ours(None)
    for name, flags in OURS.items():
        checkpoint = bench.train(f"swift, {name}", "--tuner_backend", "swift", *flags)
        ours = bench.ours(checkpoint)
        model = Swift.from_pretrained(qwen1.load(bench.model), str(checkpoint))
        bench.moved(name, ours, base)
        bench.close(f"from here, {name}", ours, bench.theirs(model))
        again = bench.work / "again"
        shutil.rmtree(again, ignore_errors=True)
        model.save_pretrained(str(again), safe_serialization=True)
        bench.close(f"from here, saved by SWIFT and back, {name}", bench.ours(again), ours)
        written, wanted = keys(checkpoint), keys(again)
        bench.same(
            f"the keys that SWIFT writes, {name}", written == wanted, str(sorted(written ^ wanted)[:4] or len(wanted))
        )

    for name, settings in THEIRS.items():
        torch.manual_seed(2)
        model = Swift.prepare_model(qwen1.load(bench.model), LoRAConfig(**settings))
        randomize(model)
        made = bench.work / "made"
        shutil.rmtree(made, ignore_errors=True)
        model.save_pretrained(str(made), safe_serialization=True)
        theirs = bench.theirs(model)
        bench.moved(name, theirs, base)
        bench.close(f"from SWIFT, {name}", bench.ours(made), theirs)

    # As SWIFT saves with tuner_backend peft.
    model = Swift.prepare_model(
        qwen1.load(bench.model), LoraConfig(task_type="CAUSAL_LM", target_modules=["c_attn"], r=4, bias="all")
    )
    randomize(model)
    shutil.rmtree(made, ignore_errors=True)
    model.save_pretrained(str(made), safe_serialization=True)
    bench.close("from SWIFT, tuner_backend peft", bench.ours(made), bench.theirs(model))
    checkpoint = bench.train("peft, c_attn", "--tuner_backend", "peft", *OURS["c_attn"])
    model = Swift.from_pretrained(qwen1.load(bench.model), str(checkpoint))
    bench.close("from here, tuner_backend peft", bench.ours(checkpoint), bench.theirs(model))

    # The config of a SWIFT adapter, key by key.
    checkpoint = bench.train("swift, c_attn", "--tuner_backend", "swift", *OURS["c_attn"])
    ours = json.loads((checkpoint / "default" / "adapter_config.json").read_text())
    theirs = json.loads((bench.work / "again" / "default" / "adapter_config.json").read_text())
    bench.same(
        "adapter_config.json has SWIFT's keys",
        set(ours) == set(theirs),
        str(sorted(set(ours) ^ set(theirs)) or len(ours)),
    )


def keys(checkpoint) -> set[str]:
    return set(load_file(checkpoint / "default" / "adapter_model.safetensors"))
