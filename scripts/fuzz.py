#!/usr/bin/env python3
"""Builds the fuzz targets and runs each for a number of inputs; prints a table.

    scripts/fuzz.py [--runs N] [--seed N] [--quick] [--jobs N] [TARGET...]

Rust (the stable compiler has all that libFuzzer needs), Python 3 and a C++ compiler are enough; the layout is cargo-fuzz's, which with a
nightly compiler (`cargo +nightly fuzz run TARGET`) ought to do the same. The corpus in git is only read: inputs
that reached something new are kept in fuzz/found, and what a target stumbled over in fuzz/artifacts.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "fuzz"

# What cargo-fuzz gives the compiler, sanitizers left out: there is no unsafe code in what is fuzzed, beyond the map of
# a file.
COVERAGE = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
]
# One input may take so many seconds, so many MB in all, and so many at once.
LIMITS = ["-timeout=10", "-rss_limit_mb=512", "-malloc_limit_mb=256"]
# Bytes of an input. Longer ones find the same, slower.
LONGEST = 4096
# Most of this one's time goes into matching text. A token that is too long still fits.
LONGEST_OF = {"tokenizer": 2048}
# With --quick nothing is optimized but what every input goes through.
QUICK_LEVELS = {"libfuzzer-sys": 3, "serde_json": 2, "serde_core": 2, "hashbrown": 2, "indexmap": 2, "memchr": 2, "qwen-tui": 1}
# Seconds that a target runs at most with --quick.
QUICK_SECONDS = 15


def host() -> str:
    """The compiler's own target. Named, it keeps build scripts and procedural macros free of COVERAGE."""
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    return re.search(r"^host: (.*)$", version, re.M).group(1)


def build(quick: bool) -> Path:
    """Builds all targets; returns the directory of their programs."""
    # The flags take the place of any in the environment, which would say otherwise.
    env = dict(os.environ, CARGO_ENCODED_RUSTFLAGS="\x1f".join(COVERAGE))
    out = FUZZ / "target"
    command = ["cargo", "build", "--release", "--locked"]
    if quick:
        for package, level in QUICK_LEVELS.items():
            command += ["--config", f"profile.release.package.{package}.opt-level={level}"]
        env.update(CARGO_PROFILE_RELEASE_OPT_LEVEL="0", CARGO_PROFILE_RELEASE_DEBUG="0")
        out /= "quick"
    target = host()
    command += ["--target", target, "--target-dir", str(out)]
    subprocess.run(command, cwd=FUZZ, env=env, check=True)
    return out / target / "release"


def run(program: Path, runs: int, seed: int, limits: list[str]) -> dict:
    """Runs a target; returns its row of the table."""
    name = program.name
    found, artifacts = FUZZ / "found" / name, FUZZ / "artifacts" / name
    found.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [
        str(program), f"-runs={runs}", f"-seed={seed}", f"-max_len={LONGEST_OF.get(name, LONGEST)}", *limits,
        f"-artifact_prefix={artifacts}/",
        f"-dict={FUZZ}/dictionaries/{name}.txt", "-print_final_stats=1", "-report_slow_units=1",
        str(found), str(FUZZ / "corpus" / name),
    ]
    began, longest, told, reached = time.monotonic(), 0.0, [], {"cov": 0, "corp": 0}
    fuzzer = subprocess.Popen(
        command, cwd=FUZZ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, errors="replace",
    )
    for line in fuzzer.stderr:
        told = (told + [line])[-200:]
        if slow := re.search(r"Slowest unit: (\d+) s", line):
            longest = float(slow.group(1))
        # Told now and then, and not by the last lines of all.
        reached.update((name, int(n)) for name, n in re.findall(r"\b(cov|corp): (\d+)", line))
    status = fuzzer.wait()
    text = "".join(told)

    def figure(pattern: str) -> int:
        return int((re.findall(pattern, text) or ["0"])[-1])

    if status != 0:
        sys.stderr.write(text)
    return {
        "target": name,
        "inputs": figure(r"number_of_executed_units: (\d+)"),
        "seconds": round(time.monotonic() - began),
        "coverage": reached["cov"],
        "corpus": reached["corp"],
        "longest": f"{longest:.0f} s" if longest else "< 1 s",
        "memory": figure(r"peak_rss_mb: +(\d+)"),
        "ended": "well" if status == 0 else f"status {status}",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs a target gets (1000000)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations; 0: another one each time (1)")
    parser.add_argument("--quick", action="store_true", help=f"compile quickly, and run each target for {QUICK_SECONDS} s at most")
    parser.add_argument("--jobs", type=int, default=1, help="targets that run at the same time (1)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="those alone")
    args = parser.parse_args()
    known = sorted(file.stem for file in (FUZZ / "fuzz_targets").glob("*.rs"))
    if unknown := [name for name in args.targets if name not in known]:
        parser.error(f"no target {unknown[0]}; there are {', '.join(known)}")
    began = time.monotonic()
    programs = build(args.quick)
    print(f"built in {time.monotonic() - began:.0f} s", flush=True)
    limits = LIMITS + ([f"-max_total_time={QUICK_SECONDS}"] if args.quick else [])
    rows = []
    print("| target | inputs | seconds | edges covered | inputs kept | longest | memory (MB) | ended |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        for row in pool.map(lambda name: run(programs / name, args.runs, args.seed, limits), args.targets or known):
            rows.append(row)
            print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)
    failed = [row["target"] for row in rows if row["ended"] != "well"]
    if failed:
        what = "the input is in fuzz/artifacts; mend what it found, and put it into fuzz/corpus"
        print(f"fuzz: {', '.join(failed)}: {what}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
