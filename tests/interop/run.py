#!/usr/bin/env python3
"""Compares qwen-tui with PEFT, SWIFT 1.5.3 and transformers, which it installs (environment.py): `make interop`.

    tests/interop/run.py [CHECK...]

A check is a module in checks/ with a function `run(bench)`; it runs in a process of its own, with the packages of
SWIFT's time or the current ones. A line is printed for each comparison; the exit status is 1 where one failed.
The programs are those in $QWEN_TUI_BIN, or target/release.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import environment

HERE = Path(__file__).resolve().parent

# Module, whether it takes the current packages, what it is about.
CHECKS = [
    ("qwen2", True, "transformers' Qwen2 with its separate projections"),
    ("peft_adapters", False, "PEFT 0.7.1, of SWIFT 1.5.3's time"),
    ("peft_adapters", True, "PEFT of today"),
    ("swift_adapters", False, "SWIFT 1.5.3's own layout"),
    ("swift_templates", False, "SWIFT 1.5.3's templates"),
    ("tensorboard_files", False, "TensorBoard's reader of a run's event files"),
    ("merged_models", False, "merged models"),
]

ONE = "import sys; sys.path.insert(0, sys.argv[1]); import one; one.main(*sys.argv[2:])"


def main() -> int:
    began = time.monotonic()
    target = Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent.parent / "target"))
    programs = Path(os.environ.get("QWEN_TUI_BIN", target / "release")).resolve()
    for program in ["qwen-tui", "qwen-tui-engine"]:
        if not (programs / program).is_file():
            environment.stop(f"{programs / program} is missing: make build, or name its folder in QWEN_TUI_BIN")
    wanted = sys.argv[1:]
    known = list(dict.fromkeys(module for module, *_ in CHECKS))
    if unknown := [name for name in wanted if name not in known]:
        environment.stop(f"no check {', '.join(unknown)}; there are {', '.join(known)}")
    environment.make()
    counts = {"ok": 0, "FAILED": 0, "skipped": 0}
    with tempfile.TemporaryDirectory(prefix="qwen-tui-interop-") as work:
        one("prepare", False, work, programs, counts)
        for module, current, about in CHECKS:
            if not wanted or module in wanted:
                print(f"\n{about}", flush=True)
                one(module, current, work, programs, counts)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"\n{minutes}:{seconds:02} minutes")
    print(f"interop: {counts['ok']} passed, {counts['FAILED']} failed, {counts['skipped']} skipped")
    return 1 if counts["FAILED"] or not counts["ok"] else 0


def one(module: str, current: bool, work: str, programs: Path, counts: dict) -> None:
    """Runs a check in its own process and counts its lines."""
    command = [environment.PYTHON, "-c", ONE, HERE, module, work, programs]
    with subprocess.Popen(
        [str(part) for part in command], env=environment.variables(current), stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            first = line.replace(":", " ").split(maxsplit=1)[:1]
            if first and first[0] in counts:
                counts[first[0]] += 1
    if process.returncode != 0:
        counts["FAILED"] += 1
        print(f"FAILED {module}: ended with status {process.returncode}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
