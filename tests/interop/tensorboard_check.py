"""Compares a run's TensorBoard files, as TensorBoard itself reads them, with its logging.jsonl.

    python tests/interop/tensorboard_check.py RUN_DIR [EVENTS_DIR]

Needs the package tensorboard. Every scalar of every tag must stand in the log with its step, and every figure of the
log in TensorBoard. Exit status 0 where they agree, 1 where not, 2 where there is nothing to compare.
"""

import json
import math
import sys
from collections import defaultdict
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# logging.jsonl has 8 decimals, a scalar 24 bits.
DECIMALS = 0.5e-8
SINGLE = 2.0**-24


def tag(key: str) -> str:
    """transformers' rewrite_logs."""
    return f"eval/{key[len('eval_'):]}" if key.startswith("eval_") else f"train/{key}"


def logged(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value) in the log's order; a null is a figure that is not finite."""
    figures = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        step = entry.pop("global_step")
        for key, value in entry.items():
            figures[tag(key)].append((step, math.nan if value is None else float(value)))
    return dict(figures)


def reported(directory: Path) -> tuple[dict[str, list[tuple[int, float]]], dict[str, str]]:
    """Tag -> (step, value), and tag -> text, by TensorBoard's own reader with its defaults but for its sampling."""
    accumulator = EventAccumulator(str(directory), size_guidance={"scalars": 0, "tensors": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    scalars = {t: [(e.step, e.value) for e in accumulator.Scalars(t)] for t in tags["scalars"]}
    texts = {t: accumulator.Tensors(t)[-1].tensor_proto.string_val[0].decode() for t in tags["tensors"]}
    return scalars, texts


def same(found: float, wanted: float) -> bool:
    if not math.isfinite(found):
        return not math.isfinite(wanted)
    return abs(found - wanted) <= DECIMALS + SINGLE * abs(wanted)


def main(run: Path, events: Path) -> int:
    wanted, (found, texts) = logged(run / "logging.jsonl"), reported(events)
    if not wanted or not found:
        print(f"nothing to compare: {len(wanted)} tags in the log, {len(found)} in {events}")
        return 2
    faults = [f"{t}: only in the log" for t in sorted(wanted.keys() - found.keys())]
    faults += [f"{t}: only in TensorBoard" for t in sorted(found.keys() - wanted.keys())]
    for t in sorted(wanted.keys() & found.keys()):
        if [step for step, _ in found[t]] != [step for step, _ in wanted[t]]:
            faults.append(f"{t}: steps {[s for s, _ in found[t]]}, the log has {[s for s, _ in wanted[t]]}")
            continue
        pairs = list(zip(found[t], wanted[t]))
        faults += [f"{t} at {s}: {x}, the log has {y}" for (s, x), (_, y) in pairs if not same(x, y)]
        worst = max((abs(x - y) for (_, x), (_, y) in pairs if math.isfinite(x)), default=0.0)
        print(f"{t:32} {len(pairs):6} values, largest difference {worst:.1e}")
    arguments = json.loads(texts.get("args/text_summary", "null"))
    if arguments != json.loads((run / "training_args.json").read_text(encoding="utf-8")):
        faults.append("args/text_summary is not training_args.json")
    for fault in faults:
        print("FAULT:", fault)
    print("disagree" if faults else f"agree: {sum(map(len, found.values()))} scalars of {len(found)} tags")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    run_dir = Path(sys.argv[1])
    sys.exit(main(run_dir, Path(sys.argv[2]) if len(sys.argv) == 3 else run_dir / "runs"))
