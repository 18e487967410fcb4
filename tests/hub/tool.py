"""A hub's own Python tool, in a process of its own: `tool.py download|find TOOL SORT ID`, with the environment that
interop.py gives it. Prints the directory that the tool names; `find` without a network."""

import logging
import os
import sys
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def modelscope_1(sort: str, repository: str, offline: bool) -> str:
    from modelscope.hub.snapshot_download import snapshot_download

    return snapshot_download(repository, local_files_only=offline)


def modelscope(sort: str, repository: str, offline: bool) -> str:
    from modelscope import snapshot_download

    return snapshot_download(repository, repo_type=sort, local_files_only=offline)


def huggingface(sort: str, repository: str, offline: bool) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(repository, repo_type=sort, local_files_only=offline)


TOOLS = {
    "modelscope-1.11": modelscope_1,
    "modelscope": modelscope,
    "huggingface": huggingface,
    "huggingface-0": huggingface,
}

if __name__ == "__main__":
    _, what, tool, sort, repository = sys.argv
    # What a library prints is not the answer.
    answer = os.dup(1)
    os.dup2(2, 1)
    directory = TOOLS[tool](sort, repository, what == "find")
    os.write(answer, f"{directory}\n".encode())
