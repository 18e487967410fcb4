#!/usr/bin/env python3
"""`qwen-tui bench` beside transformers and PEFT, which it installs as `make interop` does: `make bench-peers`.

    benches/peers/run.py [ARGUMENT OF qwen-tui bench...]

$QWEN_TUI_PEERS_PYTHON names a Python that has torch, transformers and peft: needed for a GPU, since what is installed
here computes on the CPU.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))

import environment  # noqa: E402  (it lies in that folder)


def main() -> None:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    programs = Path(os.environ.get("QWEN_TUI_BIN", target / "release")).resolve()
    variables, python = dict(os.environ), os.environ.get("QWEN_TUI_PEERS_PYTHON")
    if python is None:
        environment.make()
        python = str(environment.PYTHON)
        variables["PYTHONPATH"] = str(environment.CURRENT)
    program = str(programs / "qwen-tui")
    os.execvpe(program, [program, "bench", "--peers", python, *sys.argv[1:]], variables)


if __name__ == "__main__":
    main()
