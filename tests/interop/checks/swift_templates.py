"""SWIFT 1.5.3's own template classes and ours make the same token ids and labels of the same rows."""

import base64
import importlib.util
import json
import os
import unicodedata
from pathlib import Path

import tiktoken

from bench import ROOT, Bench
from bench import run as run_program

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205))]
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PLAIN = [
    {"query": "不错", "response": "positive"},
    {"query": "Task: Sentiment Classification\nSentence: 太 差\nCategory: a, b\nOutput:", "response": "negative"},
    {"query": "ends in a space ", "response": " begins with one\n\n"},
    {"query": "<|im_start|>user\nspecial <|endoftext|> inside", "response": "12345 <|im_end|>x"},
    {"query": "Cafe\u0301 \U0001f600\r\n\t1e5", "response": "\u3000全角"},
]
TURNS = [
    {"query": "三", "response": "c", "history": [["一", "a"], ["二", "b\n"]]},
    {"query": "q", "response": "r", "system": "You write verse."},
    {"query": "q", "response": "r", "system": "S", "history": [["x", "y"]]},
    {"query": "q", "response": "r", "system": ""},
]
TEMPLATES = {"default-generation": PLAIN, "default": PLAIN + TURNS, "qwen": PLAIN + TURNS, "chatml": PLAIN + TURNS}


def run(bench: Bench) -> None:
    shared = Path(os.environ.get("QWEN_TUI_SHARED", ROOT.parent / "shared")) / "qwen1-tokenizer"
    folders = [("the demo's vocabulary", ROOT / "demo" / "base"), ("the published vocabulary", shared)]
    for vocabulary, folder in folders:
        if not (folder / "qwen.tiktoken").is_file():
            print(f"skipped {vocabulary}: {folder} is not there", flush=True)
            continue
        tokenizer = Tokenizer(folder / "qwen.tiktoken")
        for template, rows in TEMPLATES.items():
            compare(bench, f"{template}, {vocabulary}", folder, tokenizer, template, None, rows)
        for template in ["default", "qwen"]:
            name = f"{template} with --system, {vocabulary}"
            compare(bench, name, folder, tokenizer, template, "Be brief.", PLAIN + TURNS)
        without_a_beginning(bench, vocabulary, folder, tokenizer)


def compare(bench: Bench, name: str, folder: Path, tokenizer, template: str, system, rows: list) -> None:
    file = bench.work / "template.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    command = [bench.engine, "encode", "--model", folder, "--template", template, file]
    done = run_program(command + (["--system", system] if system else []))
    ours = [json.loads(line) for line in done.stdout.splitlines()]
    theirs = swift().get_template(template, tokenizer, system)
    wrong = []
    for i, row in enumerate(rows):
        expected = theirs.encode(row)
        expected = {"ids": expected["input_ids"], "labels": expected["labels"]}
        if i >= len(ours) or ours[i] != expected:
            wrong.append(f"row {i + 1}: {ours[i] if i < len(ours) else done.stderr} for {expected}")
    bench.same(name, not wrong, wrong[0] if wrong else f"{len(rows)} rows, the same ids and labels")


def without_a_beginning(bench: Bench, vocabulary: str, folder: Path, tokenizer) -> None:
    """Qwen has no token for the beginning of a text: SWIFT's template fails, ours is refused."""
    try:
        swift().get_template("default-generation-bos", tokenizer).encode(PLAIN[0])
        failed = False
    except AssertionError:
        failed = True
    file = bench.work / "template.jsonl"
    file.write_text(json.dumps(PLAIN[0]))
    done = run_program([bench.engine, "encode", "--model", folder, "--template", "default-generation-bos", file])
    name = f"default-generation-bos, {vocabulary}: fails there, refused here"
    bench.same(name, failed and done.returncode == 2 and "no token for the beginning" in done.stderr)


class Tokenizer:
    """Qwen-1's published tokenizer, as far as a template sees it: NFC, tiktoken's BPE, special tokens read in texts."""

    bos_token_id = None

    def __init__(self, file: Path):
        lines = (line.split() for line in file.read_text().splitlines() if line)
        ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
        special = {token: len(ranks) + i for i, token in enumerate(SPECIAL)}
        self.eos_token_id = special["<|endoftext|>"]
        self.encoding = tiktoken.Encoding("qwen", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=special)

    def __call__(self, text: str, **_):
        return {"input_ids": self.encoding.encode(unicodedata.normalize("NFC", text), allowed_special="all")}


def swift():
    """SWIFT's module of templates; its package wants ModelScope's hub client and a dozen more to be imported."""
    package = Path(importlib.util.find_spec("swift").submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("swift_templates", package / "llm" / "utils" / "template.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
