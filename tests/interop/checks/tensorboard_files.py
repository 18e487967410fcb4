"""The event files of a run, read by TensorBoard itself: tests/interop/tensorboard_check.py RUN_DIR."""

import subprocess
import sys
from pathlib import Path

from bench import Bench

SCRIPT = Path(__file__).resolve().parent.parent / "tensorboard_check.py"


def run(bench: Bench) -> None:
    checkpoint = bench.train("swift, c_attn", "--tuner_backend", "swift")
    done = subprocess.run([sys.executable, str(SCRIPT), str(checkpoint.parent)], capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip().splitlines()
    bench.same("the event files have logging.jsonl's scalars", done.returncode == 0, said[-1] if said else "")
