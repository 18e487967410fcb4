"""The Python packages that the checks compare with, from PyPI, in .cache/interop.

`python` is a virtual environment with PyTorch, SWIFT 1.5.3 and the PEFT and transformers of its time. `current` is a
folder of newer ones that share its PyTorch: with it in front on PYTHONPATH they are the ones that are imported.

PyPI's PyTorch wants 4 GB of CUDA libraries beside it. On the CPU none of them is called, so one library with the names
that PyTorch looks for stands for them all.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent.parent / ".cache" / "interop"
PYTHON = FOLDER / "venv" / "bin" / "python"
CURRENT = FOLDER / "current"
STAMP = FOLDER / "stamp"
NEEDED_MB = 3500

# What PyTorch's libraries ask of CUDA's, whose calls end in a trap.
ABSENT = re.compile(r"(cublas|cusparse|cudnn|cufft|curand|cuFile|nccl|nvshmem|cusolver)")
ABSENT_LIBRARY = re.compile(r"lib(cublas|cusparse|cudnn|cufft|curand|cufile|nccl|nvshmem|cusolver)")
ASKING = ["libtorch_cuda.so", "libtorch_python.so", "libc10_cuda.so", "libtorch_nvshmem.so"]
STAND_IN = "libno_cuda.so"


def make() -> None:
    """Installs what is not installed yet."""
    files = [HERE / "requirements.txt", HERE / "requirements-current.txt", Path(__file__)]
    stamp = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    if STAMP.exists() and STAMP.read_text() == stamp:
        return
    base = interpreter()
    for tool in ["cc", "nm", "readelf"]:
        if shutil.which(tool) is None:
            stop(f"{tool} is missing (Debian, Ubuntu: apt install g++)")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    free = shutil.disk_usage(FOLDER).free // 2**20
    if free < NEEDED_MB:
        stop(f"needs {NEEDED_MB} MB of disk, {FOLDER} has {free} MB left")
    print(f"interop: installing Python packages into {FOLDER} (a download of 800 MB, once)", flush=True)
    subprocess.run([base, "-m", "venv", str(FOLDER / "venv")], check=True)
    installs = [pip("requirements.txt"), pip("requirements-current.txt", "--target", str(CURRENT))]
    for install in installs:
        output = install.communicate()[0]
        if install.returncode != 0:
            stop(f"pip failed; its own message:\n{output}")
    stand_in_for_cuda(next(FOLDER.glob("venv/lib/python3*/site-packages/torch/lib")))
    STAMP.write_text(stamp)


def interpreter() -> str:
    """A Python that all the pinned packages have wheels for."""
    names = [sys.executable] + [shutil.which(name) for name in ["python3.11", "python3.12"]]
    for name in filter(None, names):
        told = subprocess.run([name, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
        if told.returncode == 0 and told.stdout.split() in (["3", "11"], ["3", "12"]):
            return name
    stop("needs Python 3.11 or 3.12, in front on PATH or by the name python3.11 or python3.12")


def pip(requirements: str, *more: str) -> subprocess.Popen:
    # Every package is named with its version, so pip has nothing to resolve; PyTorch's CUDA libraries stay away.
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-compile"]
    command += ["--requirement", HERE / requirements, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def stand_in_for_cuda(lib: Path) -> None:
    """Puts a library with every absent name into PyTorch's folder, under the names of the absent libraries."""
    versions: dict[str, set[str]] = {}
    libraries: set[str] = set()
    for name in ASKING:
        for line in tool("nm", "-D", "--undefined-only", lib / name).splitlines():
            symbol, _, version = line.split()[-1].partition("@")
            if ABSENT.match(symbol):
                versions.setdefault(version, set()).add(symbol)
        needed = re.findall(r"\(NEEDED\).*\[(.+)\]", tool("readelf", "-d", lib / name))
        libraries.update(library for library in needed if ABSENT_LIBRARY.match(library))
    symbols = sorted(set().union(*versions.values()))
    source, script = lib / "no_cuda.c", lib / "no_cuda.map"
    source.write_text("".join(f"void {symbol}(void) {{ __builtin_trap(); }}\n" for symbol in symbols))
    nodes = {version: "; ".join(sorted(names)) for version, names in versions.items() if version}
    script.write_text("".join(f"{version} {{ global: {names}; }};\n" for version, names in nodes.items()))
    tool("cc", "-shared", "-fPIC", "-fno-builtin", "-w", f"-Wl,--version-script={script}", "-o", lib / STAND_IN, source)
    for library in libraries:
        if not (lib / library).exists():
            (lib / library).symlink_to(STAND_IN)


def tool(*command) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        stop(f"{command[0]} failed:\n{done.stderr}")
    return done.stdout


def variables(current: bool) -> dict[str, str]:
    """The environment of a check: with the current packages, or with those of SWIFT 1.5.3's time."""
    chosen = dict(os.environ)
    chosen.update(CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", OMP_NUM_THREADS="2")
    chosen.update(PYTHONWARNINGS="ignore", TOKENIZERS_PARALLELISM="false", PYTHONPATH=str(CURRENT) if current else "")
    return chosen


def stop(message: str):
    print(f"interop: {message}", file=sys.stderr)
    raise SystemExit(2)
