"""One check, in the process that run.py starts for it."""

import importlib
import logging
import warnings
from pathlib import Path

from bench import Bench


def main(module: str, work: str, programs: str) -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    bench = Bench(Path(work), Path(programs))
    if module == "prepare":
        bench.prepare()
    else:
        importlib.import_module(f"checks.{module}").run(bench)
