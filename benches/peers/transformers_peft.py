#!/usr/bin/env python3
"""transformers + PEFT at the settings of the reference run, timed: `qwen-tui bench --peers PYTHON` runs it.

    transformers_peft.py JOB.json [--loop plain|trainer] [--serve]

JOB.json is written by `qwen-tui bench --job JOB.json`: the model's sizes, device, dtype, threads, the settings, and the
token ids and labels of every step's rows. The weights are random and made on the device: their values take no time.

What is timed is the library's own code: Qwen2ForCausalLM has Qwen-1's blocks (RMSNorm, rotary positions, SwiGLU, biases
in the attention's input alone) with that input as three layers. So LoRA has three A matrices where c_attn has one: less
than 1 % more arithmetic. One row at a time, sixteen times a step; every block is computed again on the way
back; logits at every position; torch.optim.AdamW; the gradient clipped.
`--loop plain` is the loop alone, without what a trainer does beside it; `--loop trainer` is transformers' Trainer.

Without --serve it trains, evaluates and classifies, and prints one JSON object. With --serve it answers commands, a
line each of standard input, by JSON lines: `steps N`, `evaluate`, `classify`, `memory`, `end`.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("job")
    parser.add_argument("--loop", choices=["plain", "trainer"], default="plain")
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    with open(options.job) as file:
        job = json.load(file)
    if job.get("threads"):
        torch.set_num_threads(job["threads"])
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if options.serve:
        commands = iter(lambda: sys.stdin.readline() or "end", None)
        tell = lambda answer: print(json.dumps(answer), file=answers, flush=True)
        serve(Peer(job, options.loop), (line.split() for line in commands), tell)
        return
    told = []
    rounds = [["steps", 1]] * (len(job["steps"]) - job["warmup"])
    commands = [["steps", job["warmup"]], *rounds, ["evaluate"], ["classify"], ["memory"], ["end"]]
    serve(Peer(job, options.loop), iter(commands), told.append)
    print(json.dumps(summary(told)), file=answers, flush=True)


class Peer:
    """The model with its adapter, and what is timed of it."""

    def __init__(self, job: dict, loop: str):
        import peft
        import transformers

        transformers.logging.set_verbosity_error()
        self.job, self.loop, self.step = job, loop, 0
        self.device = torch.device(job["device"])
        self.dtype = DTYPES[job["dtype"]]
        torch.manual_seed(job["seed"])
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        model = make_model(job["model"], self.device, self.dtype)
        model.config.use_cache = False
        # As SWIFT's trainer does it: transformers' own defaults.
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
        adapter = peft.LoraConfig(
            r=job["lora_rank"], lora_alpha=job["lora_alpha"], lora_dropout=job["lora_dropout"], bias="none",
            target_modules=["q_proj", "k_proj", "v_proj"], task_type="CAUSAL_LM",
        )
        self.model = peft.get_peft_model(model, adapter)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=job["learning_rate"], betas=(0.9, 0.999), eps=1e-8, weight_decay=job["weight_decay"]
        )
        self.facts = {
            "versions": {
                "python": sys.version.split()[0], "torch": torch.__version__,
                "transformers": transformers.__version__, "peft": peft.__version__,
            },
            "model": type(model).__name__,
            "attention": getattr(model.config, "_attn_implementation", None),
            "loop": loop,
            "threads": torch.get_num_threads(),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "trained": sum(p.numel() for p in self.trained),
        }

    def wait(self) -> None:
        """Until the device has done all it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def autocast(self):
        """What Trainer's `bf16` and `fp16` do."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def inputs(self, row: dict) -> dict:
        ids = torch.tensor([row["ids"]]).to(self.device)
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": torch.tensor([row["labels"]]).to(self.device),
        }

    def steps(self, count: int) -> dict:
        """Optimizer steps, each of all its rows, one row at a time."""
        self.model.train()
        self.wait()
        began = time.perf_counter()
        for _ in range(count):
            rows = self.job["steps"][self.step]
            self.step += 1
            total = torch.zeros((), device=self.device)
            for row in rows:
                with self.autocast():
                    loss = self.model(**self.inputs(row)).loss / len(rows)
                loss.backward()
                total += loss.detach()
            norm = torch.nn.utils.clip_grad_norm_(self.trained, self.job["max_grad_norm"])
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.wait()
        seconds = time.perf_counter() - began
        return {"steps": count, "seconds": seconds, "loss": float(total), "grad_norm": float(norm)}

    def evaluate(self) -> dict:
        """Loss and predictions of the validation rows, one at a time."""
        self.model.eval()
        rows = self.job["validation"]
        self.wait()
        began = time.perf_counter()
        loss, right = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        with torch.no_grad(), self.autocast():
            for row in rows:
                inputs = self.inputs(row)
                found = self.model(**inputs)
                labels = inputs["labels"][0, 1:]
                loss += found.loss.detach()
                right += ((found.logits[0, :-1].argmax(-1) == labels) & (labels >= 0)).sum()
        self.wait()
        return {"rows": len(rows), "seconds": time.perf_counter() - began, "loss": float(loss) / max(len(rows), 1)}

    def classify(self) -> dict:
        """Each prompt answered by itself: a label's token and the end token, greedily, over a cache; no autocast."""
        self.model.eval()
        self.model.base_model.model.gradient_checkpointing_disable()
        seconds = []
        with torch.no_grad():
            for prompt in self.job["warm_prompts"] + self.job["prompts"]:
                began = time.perf_counter()
                ids = torch.tensor([prompt]).to(self.device)
                answer = self.model.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, use_cache=True,
                    max_new_tokens=2, min_new_tokens=2, pad_token_id=self.job["eos"], eos_token_id=self.job["eos"],
                )
                answer[0, -2:].tolist()
                seconds.append(time.perf_counter() - began)
        return {"seconds": seconds[len(self.job["warm_prompts"]):]}

    def memory(self) -> dict:
        """The most since `begin_memory`, in bytes."""
        if self.device.type == "cuda":
            return {
                "allocated": torch.cuda.max_memory_allocated(self.device),
                "reserved": torch.cuda.max_memory_reserved(self.device),
            }
        return {"rss": peak_rss()}

    def begin_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
                file.write("5")


def make_model(sizes: dict, device: torch.device, dtype: torch.dtype):
    """The shape in transformers' own code."""
    import transformers

    common = dict(
        vocab_size=sizes["vocab"], hidden_size=sizes["hidden"], intermediate_size=sizes["mlp"],
        num_hidden_layers=sizes["layers"], num_attention_heads=sizes["heads"], num_key_value_heads=sizes["heads"],
        max_position_embeddings=sizes["seq_length"], rms_norm_eps=sizes["eps"], tie_word_embeddings=False,
    )
    if hasattr(transformers, "Qwen2ForCausalLM"):
        kind, config = transformers.Qwen2ForCausalLM, transformers.Qwen2Config(**common)
    else:
        # transformers 4.36: Llama's blocks are Qwen2's but for a bias in the attention's output.
        kind, config = transformers.LlamaForCausalLM, transformers.LlamaConfig(**common, attention_bias=True)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            return kind(config)
    finally:
        torch.set_default_dtype(before)


def serve(peer: Peer, commands, tell) -> None:
    """Answers commands until `end`."""
    tell({"ready": True, **peer.facts})
    peer.begin_memory()
    command = next(commands)
    if command[0] == "steps" and peer.loop == "trainer":
        command = by_trainer(peer, command, commands, tell)
    while command[0] != "end":
        if command[0] == "steps":
            tell(peer.steps(int(command[1])))
        elif command[0] in ("evaluate", "classify", "memory"):
            tell(getattr(peer, command[0])())
        else:
            tell({"error": f"no command {command[0]}"})
        command = next(commands)


def by_trainer(peer: Peer, first: list, commands, tell) -> list:
    """Trains by transformers' Trainer, held between steps; returns the first command that asks for no step."""
    import transformers

    job = peer.job

    class Gate(transformers.TrainerCallback):
        """Holds the training until steps are asked for."""

        def __init__(self):
            self.next, self.left, self.asked, self.began = first, 0, 0, 0.0

        def open(self, control):
            if self.next[0] == "steps":
                self.left = self.asked = int(self.next[1])
                peer.wait()
                self.began = time.perf_counter()
            else:
                control.should_training_stop = True

        def on_train_begin(self, args, state, control, **_):
            self.open(control)

        def on_step_end(self, args, state, control, **_):
            self.left -= 1
            if self.left == 0:
                peer.wait()
                tell({"steps": self.asked, "seconds": time.perf_counter() - self.began})
                self.next = next(commands)
                self.open(control)

    class Trainer(transformers.Trainer):
        def get_train_dataloader(self):
            # The rows in their order.
            rows = [row for step in job["steps"] for row in step]
            return torch.utils.data.DataLoader(rows, batch_size=1, collate_fn=self.data_collator)

    collate = lambda rows: {
        "input_ids": torch.tensor([rows[0]["ids"]]),
        "attention_mask": torch.ones(1, len(rows[0]["ids"]), dtype=torch.long),
        "labels": torch.tensor([rows[0]["labels"]]),
    }
    gate = Gate()
    with tempfile.TemporaryDirectory() as output:
        arguments = transformers.TrainingArguments(
            output_dir=output, per_device_train_batch_size=1, gradient_accumulation_steps=len(job["steps"][0]),
            max_steps=len(job["steps"]), learning_rate=job["learning_rate"], weight_decay=job["weight_decay"],
            max_grad_norm=job["max_grad_norm"], optim="adamw_torch", lr_scheduler_type="linear",
            gradient_checkpointing=True, logging_steps=5, save_strategy="no", report_to=[], disable_tqdm=True,
            bf16=peer.dtype == torch.bfloat16, fp16=peer.dtype == torch.float16,
            use_cpu=peer.device.type == "cpu", remove_unused_columns=False, seed=job["seed"],
        )
        rows = [row for step in job["steps"] for row in step]
        trainer = Trainer(
            model=peer.model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[gate]
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return gate.next


def summary(told: list) -> dict:
    """One object of all answers."""
    facts, steps = told[0], [answer for answer in told if "steps" in answer][1:]
    evaluation = next(answer for answer in told if "rows" in answer)
    latency = sorted(next(answer["seconds"] for answer in told if isinstance(answer.get("seconds"), list)))
    each = sorted(answer["seconds"] / answer["steps"] for answer in steps)
    memory = next(answer for answer in told if "rss" in answer or "reserved" in answer)
    at = lambda share: latency[min(int(share * len(latency)), len(latency) - 1)]
    facts.pop("ready")
    return {
        **facts,
        "step_seconds": each[len(each) // 2],
        "eval_rows_per_second": evaluation["rows"] / evaluation["seconds"],
        "classify_p50": at(0.5), "classify_p99": at(0.99),
        "memory": memory,
    }


def peak_rss() -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
