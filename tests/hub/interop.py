#!/usr/bin/env python3
"""Caches of the hubs' own Python tools are found by qwen-tui, and what qwen-tui pulled by them: `make interop`.

The tools are installed into .cache/hubs and run, as qwen-tui is, against the tests' server on loopback; then the server
goes away. A line is printed for each comparison; the exit status is 1 where one failed. The programs are those in
$QWEN_TUI_BIN, or target/release.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.append(str(ROOT / "tests" / "interop"))

import environment  # noqa: E402
import tls  # noqa: E402

FOLDER = ROOT / ".cache" / "hubs"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
PROGRAMS = Path(os.environ.get("QWEN_TUI_BIN", TARGET)).resolve()
SERVER = PROGRAMS / "examples" / "hub-server"

TOOLS = ["modelscope-1.11", "modelscope", "huggingface-0", "huggingface"]
# As each hub writes it; what a job of ours calls it; data rows.
MODEL = {"modelscope": "qwen/Qwen-1_8B", "hf": "Qwen/Qwen-1_8B"}
ROWS = {"modelscope": "DAMO_NLP/jd", "hf": "DAMO_NLP/jd"}
# Files that no job needs and only the tools bring.
OTHERS = {".gitattributes": "*.bin filter=lfs\n", "assets/logo.svg": "<svg/>\n"}

counts = {True: 0, False: 0}


def check(good: bool, about: str, more: str = "") -> None:
    counts[good] += 1
    print(f"{'ok' if good else 'FAILED'} {about}{'' if good else ': ' + more[-2000:]}", flush=True)


def install(tool: str) -> Path:
    """The folder of a tool's packages, installed where they are not yet."""
    folder, requirements = FOLDER / tool, HERE / f"requirements-{tool}.txt"
    stamp = folder / "stamp"
    text = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == text:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    print(f"interop: installing {tool} into {folder}", flush=True)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    command += ["--no-compile", "--target", folder, "--requirement", requirements]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        environment.stop(f"pip failed; its own message:\n{done.stdout}{done.stderr}")
    stamp.write_text(text)
    return folder


class Home:
    """A home with empty caches, and a server that can go away. ModelScope is asked by https, as its old tool knows no
    other way."""

    def __init__(self, work: Path, name: str):
        self.work, self.path = work, work / name
        self.path.mkdir()
        self.server = subprocess.Popen(
            [SERVER, work / "served"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address = self.server.stdout.readline().strip()
        self.door = tls.Door(self.address, work)

    def disconnect(self) -> None:
        self.door.close()
        self.server.stdin.close()
        self.server.wait()

    def variables(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "MODELSCOPE_DOMAIN": self.door.host,
            "REQUESTS_CA_BUNDLE": str(self.work / "authority.pem"),
            "HF_ENDPOINT": self.address,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def tool(self, what: str, tool: str, sort: str, repository: str):
        """Runs a hub's own tool; its directory, or none and what it said."""
        env = self.variables() | {"PYTHONPATH": str(FOLDER / tool)}
        done = subprocess.run(
            [sys.executable, HERE / "tool.py", what, tool, sort, repository],
            env=env, capture_output=True, text=True, timeout=300,
        )
        named = done.stdout.strip()
        return (Path(named).resolve() if done.returncode == 0 and named else None), done.stderr

    def ours(self, *words: str, without: str = ""):
        """Runs qwen-tui; the directory that it names, or none and what it said."""
        env = {name: value for name, value in self.variables().items() if name != without}
        done = subprocess.run([PROGRAMS / "qwen-tui", *words], env=env, capture_output=True, text=True, timeout=300)
        named = done.stdout.strip()
        return (Path(named).resolve() if done.returncode == 0 and named else None), done.stderr


def same(directory: Path | None, served: Path, names: list[str]) -> bool:
    """Whether the directory has these files as they are served."""
    return directory is not None and all(
        (directory / name).is_file() and (directory / name).read_bytes() == (served / name).read_bytes()
        for name in names
    )


def tree(path: Path) -> dict[str, int]:
    return {str(p.relative_to(path)): p.lstat().st_mtime_ns for p in path.rglob("*") if not p.is_dir()}


def theirs_by_us(work: Path, tool: str, hub: str) -> None:
    """A tool downloads, the network goes, and qwen-tui finds it in place."""
    home = Home(work, f"theirs-{tool}")
    kinds = [("model", MODEL[hub], "models/qwen/Qwen-1_8B", ["qwen-1_8b"])]
    if tool != "modelscope-1.11":
        kinds.append(("dataset", ROWS[hub], "datasets/DAMO_NLP/jd", [ROWS[hub], "--dataset"]))
    directories = {}
    for sort, repository, served, _ in kinds:
        directories[sort], said = home.tool("download", tool, sort, repository)
        there = directories[sort] is not None
        check(there, f"{tool} downloads a {sort} from the server", said)
    home.disconnect()
    before = tree(home.path)
    for sort, repository, served, words in kinds:
        found, said = home.ours("pull", *words, "--hub", hub)
        about = f"{tool}'s {sort} is found by qwen-tui offline, in place"
        check(found is not None and found == directories[sort], about, f"{found} {directories[sort]} {said}")
        names = ["config.json", "model.safetensors", "qwen.tiktoken"] if sort == "model" else ["train.csv", "dev.csv"]
        check(same(found, work / "served" / served, names), f"  and its files are those of the server")
    check(tree(home.path) == before, "  and nothing there was changed")


def ours_by_them(work: Path, hub: str, tools: list[str]) -> None:
    """qwen-tui pulls, the network goes, and a tool finds it."""
    home = Home(work, f"ours-{hub}")
    kinds = [("model", MODEL[hub], ["qwen-1_8b"]), ("dataset", ROWS[hub], [ROWS[hub], "--dataset"])]
    pulled = {}
    for sort, repository, words in kinds:
        pulled[sort], said = home.ours("pull", *words, "--hub", hub)
        check(pulled[sort] is not None, f"qwen-tui pulls a {sort} from {hub}", said)
    home.disconnect()
    for tool in tools:
        for sort, repository, _ in kinds:
            if tool == "modelscope-1.11" and sort == "dataset":
                continue
            found, said = home.tool("find", tool, sort, repository)
            if tool == "modelscope-1.11":
                # Its index is a Python pickle, which is not written here.
                check(found is None and "Cannot find the requested files" in said,
                      f"{tool} looks in its own index alone and says that it has no {sort}", f"{found} {said}")
                continue
            about = f"qwen-tui's {sort} is found by {tool} offline"
            check(found is not None and found == pulled[sort], about, f"{found} {pulled[sort]} {said}")


def both_in_turn(work: Path, tool: str, hub: str) -> None:
    """What qwen-tui pulled is taken up by a tool that brings the rest, and is found by both after that."""
    home = Home(work, f"turn-{tool}")
    pulled, said = home.ours("pull", "qwen-1_8b", "--hub", hub)
    weights = (pulled / "model.safetensors").resolve() if pulled else work
    before = weights.stat().st_ino
    completed, said = home.tool("download", tool, "model", MODEL[hub])
    good = completed is not None and completed == pulled and (completed / "assets/logo.svg").is_file()
    check(good, f"{tool} adds what no job needs to what qwen-tui pulled", f"{completed} {pulled} {said}")
    again = (completed / "model.safetensors").resolve() if completed else work
    check(again.stat().st_ino == before, "  and does not fetch the weights again")
    found, said = home.ours("pull", "qwen-1_8b", "--hub", hub)
    check(found == pulled, "  and qwen-tui finds all of it as it should be", said)
    home.disconnect()


def trust(work: Path) -> None:
    """A certificate is believed where somebody says so, and told where nobody does."""
    home = Home(work, "trust")
    found, said = home.ours("pull", "qwen-1_8b", "--hub", "modelscope", without="REQUESTS_CA_BUNDLE")
    good = found is None and "certificate" in said and "SSL_CERT_FILE" in said
    check(good, "a certificate that nobody trusts is refused, with what to do", said)
    for name in ["SSL_CERT_FILE", "CURL_CA_BUNDLE"]:
        env = home.variables() | {name: str(work / "authority.pem"), "REQUESTS_CA_BUNDLE": ""}
        words = [PROGRAMS / "qwen-tui", "pull", "qwen-1_8b", "--hub", "modelscope", "--to", work / name]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
        check(done.returncode == 0, f"  {name} names one that is", done.stderr)
    home.disconnect()


def main() -> int:
    python = environment.interpreter()
    if Path(python).resolve() != Path(sys.executable).resolve():
        # modelscope 1.11 wants the numpy of its time.
        os.execv(python, [python, *sys.argv])
    for program in [PROGRAMS / "qwen-tui", SERVER]:
        if not program.is_file():
            environment.stop(f"{program} is missing: make build, cargo build --release --workspace --examples")
    for tool in TOOLS:
        install(tool)
    with tempfile.TemporaryDirectory(prefix="qwen-tui-hubs-") as folder:
        work = Path(folder).resolve()
        sys.path.append(str(FOLDER / "modelscope"))
        tls.certificate(work)
        model, rows = work / "served/models/qwen/Qwen-1_8B", work / "served/datasets/DAMO_NLP/jd"
        shutil.copytree(ROOT / "demo" / "base", model)
        rows.mkdir(parents=True)
        for name in ["train.csv", "dev.csv"]:
            (rows / name).write_text("sentence,label,dataset\n质量很好,1.0,jd\n质量太差,0.0,jd\n")
        for name, text in OTHERS.items():
            (model / name).parent.mkdir(exist_ok=True)
            (model / name).write_text(text)
        trust(work)
        for tool in TOOLS:
            theirs_by_us(work, tool, "modelscope" if "modelscope" in tool else "hf")
        ours_by_them(work, "modelscope", ["modelscope-1.11", "modelscope"])
        ours_by_them(work, "hf", ["huggingface-0", "huggingface"])
        both_in_turn(work, "modelscope", "modelscope")
        both_in_turn(work, "huggingface-0", "hf")
        both_in_turn(work, "huggingface", "hf")
    print(f"\nhubs: {counts[True]} passed, {counts[False]} failed")
    return 1 if counts[False] else 0


if __name__ == "__main__":
    sys.exit(main())
