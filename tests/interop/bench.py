"""What the checks share: small models, short trainings by qwen-tui, logits, and the lines that are printed."""

import json
import os
import subprocess
from pathlib import Path

import torch
from safetensors.torch import load_file

import qwen1

ROOT = Path(__file__).resolve().parent.parent.parent
# Logits here are of size 10, where fp32 has steps of 1e-6; sums of some hundred terms in another order.
TOLERANCE = 3e-5
# An adapter that moves no logit by this much would prove nothing.
MOVED = 1e-2


class Bench:
    def __init__(self, work: Path, programs: Path):
        self.work = work
        self.tui, self.engine = programs / "qwen-tui", programs / "qwen-tui-engine"
        self.vocabulary = ROOT / "demo" / "base" / "qwen.tiktoken"
        self.model = work / "model"
        self.failed = 0

    # Printed lines.

    def same(self, name: str, found: bool, detail: str = "") -> None:
        self.failed += not found
        print(f"{'ok    ' if found else 'FAILED'} {name}{': ' if detail else ''}{detail}", flush=True)

    def close(self, name: str, ours: list, theirs: list, tolerance: float = TOLERANCE) -> None:
        """Whether two lists of logits agree; says the largest difference."""
        difference = largest(ours, theirs)
        size = max(float(t.abs().max()) for t in theirs)
        self.same(name, difference <= tolerance, f"largest difference {difference:.1e} of {size:.1f}")

    def moved(self, name: str, logits: list, base: list) -> None:
        """Fails where an adapter changes next to nothing; says nothing else."""
        moved = largest(logits, base)
        if not moved > MOVED:
            self.same(f"{name}: the adapter moves the logits", False, f"by {moved:.1e} only")

    def refused(self, name: str, adapter: Path, *words: str) -> None:
        """Whether our reader refuses an adapter as a person's mistake, in a message with these words."""
        done = self.ask_logits(adapter, self.rows(), self.work / "refused.safetensors")
        told = done.returncode == 2 and all(word in done.stderr for word in words)
        self.same(name, told, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message")

    # Models and rows.

    def prepare(self) -> None:
        """Makes the model that all checks but those of shapes use."""
        qwen1.make(self.model, self.vocabulary, hidden=64, layers=2, heads=4, width=88, seed=3)
        with (self.work / "rows.jsonl").open("w") as file:
            for i in range(48):
                row = {"query": f"{'不错' if i % 2 else '太差'}{i}", "response": "positive" if i % 2 else "negative"}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def rows(self) -> list[list[int]]:
        """Token ids of rows of several lengths."""
        generator = torch.Generator().manual_seed(1)
        return [torch.randint(0, 4000, (n,), generator=generator).tolist() for n in (1, 2, 17, 61)]

    # What qwen-tui does.

    def train(self, name: str, *flags: str) -> Path:
        """The checkpoint of a short training with these arguments; trained once."""
        output = self.work / "runs" / name
        checkpoint = output / "checkpoint-3"
        if checkpoint.is_dir():
            return checkpoint
        command = [self.tui, "sft", "--model_type", "qwen-1_8b", "--model_id_or_path", self.model, "--dtype", "fp32"]
        command += ["--device", "cpu", "--threads", "1", "--custom_train_dataset_path", self.work / "rows.jsonl"]
        command += ["--train_dataset_sample", "-1", "--max_steps", "3", "--gradient_accumulation_steps", "8"]
        # Large steps: after three of them an adapter must move the logits.
        command += ["--learning_rate", "3e-2", "--warmup_ratio", "0", "--lr_scheduler_type", "constant"]
        command += ["--max_grad_norm", "0", "--output_dir", output, "--add_output_dir_suffix", "false", *flags]
        done = run(command)
        if done.returncode != 0 or not checkpoint.is_dir():
            raise SystemExit(f"the training {name} failed:\n{done.stdout}{done.stderr}")
        return checkpoint

    def ask_logits(self, adapter: Path | None, rows: list, out: Path, model: Path | None = None):
        command = [self.engine, "logits", "--out", out, "--model_type", "qwen-1_8b", "--model_id_or_path"]
        command += [model or self.model, "--dtype", "fp32", "--device", "cpu", "--load_args_from_ckpt_dir", "false"]
        command += ["--ckpt_dir", adapter] if adapter else []
        return run(command, input="".join(json.dumps(row) + "\n" for row in rows))

    def ours(self, adapter: Path | None, model: Path | None = None) -> list:
        """Our logits `[tokens, vocab]` of every row, of the base or of an adapter over it."""
        out = self.work / f"logits-{os.getpid()}.safetensors"
        rows = self.rows()
        done = self.ask_logits(adapter, rows, out, model)
        if done.returncode != 0:
            # Not a number is close to nothing, so the comparison fails, and the next one is made all the same.
            print(f"       {done.stderr.strip()}", flush=True)
            return [torch.full((len(row), 1), float("nan")) for row in rows]
        tensors = load_file(out)
        out.unlink()
        return [tensors[str(i)] for i in range(len(rows))]

    def theirs(self, model: torch.nn.Module) -> list:
        """A Python model's logits of every row."""
        model.eval()
        with torch.no_grad():
            return [model(input_ids=torch.tensor([row]))[0] for row in self.rows()]


def largest(a: list, b: list) -> float:
    """The largest difference; infinite where shapes differ or something is not a number."""
    if len(a) != len(b) or any(x.shape != y.shape for x, y in zip(a, b)):
        return float("inf")
    differences = [(x.float() - y.float()).abs() for x, y in zip(a, b)]
    if not all(bool(d.isfinite().all()) for d in differences):
        return float("inf")
    return max(float(d.max()) for d in differences)


def run(command: list, **options) -> subprocess.CompletedProcess:
    # A failing program's variables must not be those of the check's Python.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=inherited, timeout=120, **options
    )


def randomize(model: torch.nn.Module, std: float = 0.1, seed: int = 5) -> None:
    """Gives everything that is trained other values, as a training would: a fresh adapter changes nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(std * torch.randn(parameter.shape, generator=generator))
