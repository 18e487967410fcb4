#!/usr/bin/env bash
# Gets libtorch 2.11 (what tch 0.24 binds) into .libtorch/{include,lib}, or checks the one you name:
#
#   LIBTORCH=DIR              a libtorch of yours; nothing is fetched
#   LIBTORCH_USE_PYTORCH=1    the one inside the installed `torch` Python package; nothing is fetched
#   QWEN_TUI_LIBTORCH=KIND    cpu, cu126, cu128 or cu130 instead of what the NVIDIA driver suggests
#
# Without a GPU only the CPU half is kept (about 520 MB); with one, PyTorch's whole set (about 5 GB).
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=2.11.0
DEST=.libtorch

say() { echo "libtorch: $*" >&2; }
die() { say "$@"; exit 2; }

# Whether the file $1 is an ELF file that does not end before its table of sections, which stands last.
whole() {
    local start size
    [ "$(head -c 4 "$1" | od -An -c | tr -d ' ')" = '177ELF' ] || return 1
    start=$(od -An -tu8 -j40 -N8 "$1")
    size=$(od -An -tu2 -j58 -N4 "$1" | awk '{ print $1 * $2 }')
    [ $((start + size)) -le "$(wc -c < "$1")" ]
}

# Whether the folder $1 holds a libtorch that tch 0.24 can be linked to; says what is wrong with it if not.
check() {
    local dir=$1 header found library
    [ -d "$dir/include/torch" ] || { echo "$dir/include/torch is missing"; return 1; }
    [ -e "$dir/lib/libtorch_cpu.so" ] || { echo "$dir/lib/libtorch_cpu.so is missing"; return 1; }
    for library in libtorch_cpu.so libc10.so; do
        whole "$dir/lib/$library" || { echo "$dir/lib/$library is cut short or damaged"; return 1; }
    done
    [ -e "$dir/lib/libtorch.so" ] || { echo "$dir/lib/libtorch.so is missing"; return 1; }
    # The version stood in the first of these files up to 2.9.
    for header in include/torch/headeronly/version.h include/torch/csrc/api/include/torch/version.h; do
        [ -f "$dir/$header" ] || continue
        found=$(awk '$2 ~ /^TORCH_VERSION_(MAJOR|MINOR|PATCH)$/ { printf "%s%s", dot, $3; dot = "." }' "$dir/$header")
        [ -n "$found" ] && break
    done
    case ${found:-} in
        "${VERSION%.*}".*) ;;
        "") echo "its version cannot be read from $dir/include/torch"; return 1 ;;
        *) echo "it is version $found"; return 1 ;;
    esac
}

enough_space() { # $1: MB
    local free
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024) }')
    [ "$free" -ge "$1" ] || die "needs $1 MB of disk while it is set up, $PWD has $free MB left: make room and try again"
}

# pip download of files pinned by their sha256, for one Python version whatever the one installed here is:
# the libraries inside are the same, and the checksums stay valid on every machine.
fetch_wheel() { # $1: requirement, $2: sha256
    echo "$1 --hash=sha256:$2" > "$TMP/requirement.txt"
    python3 -m pip --disable-pip-version-check download --no-deps --require-hashes -r "$TMP/requirement.txt" \
        --only-binary :all: --implementation cp --python-version 311 \
        --platform "manylinux_2_28_$ARCH" --platform "manylinux_2_25_$ARCH" --platform "manylinux2014_$ARCH" \
        --dest "$TMP/wheels" >&2 || die "pip could not get $1 (its own message stands above): is there a network?"
}

get_cpu() {
    local compiler=${CC:-cc} torch runtime cupti
    command -v "${compiler%% *}" > /dev/null || die "no C compiler ($compiler): install one (Debian, Ubuntu: apt install g++)"
    case $ARCH in
        x86_64)
            torch=7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
            runtime=7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
            cupti=4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8 ;;
        aarch64)
            torch=d91aac77f24082809d2c5a93f52a5f085032740a1ebc9252a7b052ef5a4fddc6
            runtime=ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55
            cupti=796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151 ;;
    esac
    enough_space 1500
    say "getting libtorch $VERSION for the CPU (a download of 540 MB, once)"
    fetch_wheel "torch==$VERSION" $torch
    # PyPI's libtorch_cpu.so is linked to these two even where no GPU is used.
    fetch_wheel nvidia-cuda-runtime==13.0.96 $runtime
    fetch_wheel nvidia-cuda-cupti==13.0.85 $cupti
    python3 - "$TMP/wheels" "$TMP/new" <<'PYTHON'
import pathlib, shutil, sys, zipfile

wheels, new = map(pathlib.Path, sys.argv[1:])
# The CUDA half and the Python bindings stay out; what is left in torch/lib is what libtorch_cpu.so is linked to.
left_out = ("libtorch.so", "libtorch_cuda", "libtorch_python", "libtorch_nvshmem", "libtorch_global_deps",
            "libc10_cuda", "libcaffe2_nvrtc", "libshm")


def target(name):
    file = name.rsplit("/", 1)[-1]
    if not file:
        return None
    if name.startswith("torch/include/"):
        return new / name[len("torch/"):]
    if name.startswith("torch/lib/") and name.count("/") == 2 and ".so" in file and not file.startswith(left_out):
        return new / "lib" / file
    if name.startswith("torch.libs/") or file.startswith(("libcudart.so.", "libcupti.so.")):
        return new / "lib" / file
    return None


for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = target(name)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, open(path, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                if path.parent == new / "lib":
                    path.chmod(0o755)
PYTHON
    # PyPI's libtorch.so pulls in the CUDA half; this one has the same name and needs the CPU half alone.
    echo 'int qwen_tui_libtorch_cpu_only;' | (cd "$TMP/new/lib" && $compiler -shared -fPIC -o libtorch.so -x c - \
        -Wl,-soname,libtorch.so -Wl,--no-as-needed -L. -ltorch_cpu -lc10 \
        -Wl,-rpath,'$ORIGIN' -Wl,--unresolved-symbols=ignore-all) || die "the C compiler could not make the stub libtorch.so"
}

get_cuda() { # $1: cu126, cu128 or cu130
    local source=()
    # PyPI has the CUDA 13.0 build; the others are PyTorch's own.
    [ "$1" = cu130 ] || source=(--index-url "https://download.pytorch.org/whl/$1")
    enough_space 12000
    say "getting libtorch $VERSION with CUDA ($1; a download of about 2.5 GB, once)"
    python3 -m pip --disable-pip-version-check install --target "$TMP/new/site" "${source[@]}" "torch==$VERSION" >&2 \
        || die "pip could not install torch==$VERSION ($1; its own message stands above)." \
               "QWEN_TUI_LIBTORCH=cpu goes on without the GPU; LIBTORCH=DIR takes a libtorch of yours"
    # The libraries find NVIDIA's packages through \$ORIGIN/../../nvidia, which holds through these links too.
    ln -s site/torch/lib "$TMP/new/lib"
    ln -s site/torch/include "$TMP/new/include"
}

# The kind that fits this machine: by the highest CUDA version the driver supports, and the oldest card.
# A driver runs builds of its own CUDA major version or an older one.
suggest() {
    local smi cuda capability driver
    if command -v nvidia-smi > /dev/null && smi=$(nvidia-smi 2> /dev/null); then
        cuda=$(sed -n 's/.*CUDA[A-Za-z ]*Version: *\([0-9]*\)\..*/\1/p' <<< "$smi" | head -n 1)
        capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | sort -V | head -n 1 | tr -d ' .')
    elif [ -r /proc/driver/nvidia/version ]; then
        # A container without NVIDIA's tools: CUDA 12 came with driver 525, CUDA 13 with 580.
        driver=$(grep -o '  [0-9]\{3,\}\.[0-9]' /proc/driver/nvidia/version | head -n 1 | tr -d ' ' | cut -d . -f 1)
        if [ "${driver:-0}" -ge 580 ]; then cuda=13 capability=75; elif [ "${driver:-0}" -ge 525 ]; then cuda=12; fi
    else
        echo cpu
        return
    fi
    case ${cuda:-0} in
        [0-9] | 10 | 11) say "the NVIDIA driver is older than CUDA 12 (driver 525): taking the CPU build"; echo cpu ;;
        12) if [ "${capability:-0}" -ge 100 ]; then echo cu128; else echo cu126; fi ;;
        *) if [ "${capability:-999}" -lt 75 ]; then echo cu126; else echo cu130; fi ;;
    esac
}

if [ "${LIBTORCH_USE_PYTORCH:-}" ]; then
    python=python3
    [ -z "${VIRTUAL_ENV:-}" ] || python=python
    # Found without being imported, which takes seconds.
    dir=$($python -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2> /dev/null) \
        || die "LIBTORCH_USE_PYTORCH is set and $python has no torch: install torch==$VERSION or unset it"
    wrong=$(check "$dir") || die "LIBTORCH_USE_PYTORCH is set, and of PyTorch in $dir: $wrong. Wanted is ${VERSION%.*}"
    say "PyTorch's, in $dir (LIBTORCH_USE_PYTORCH)"
    exit
fi
if [ "${LIBTORCH:-}" ]; then
    # Cargo's build scripts run in other folders.
    [ "${LIBTORCH#/}" != "$LIBTORCH" ] || die "LIBTORCH=$LIBTORCH must be an absolute path, such as $PWD/$LIBTORCH"
    wrong=$(check "$LIBTORCH") || die "LIBTORCH=$LIBTORCH will not do: $wrong. Wanted is libtorch ${VERSION%.*} with include/ and lib/; unset LIBTORCH to have it fetched"
    say "yours, in $LIBTORCH"
    exit
fi

[ "$(uname -s)" = Linux ] || die "only Linux is supported here; set LIBTORCH to a libtorch $VERSION of yours to try"
ARCH=$(uname -m)
case $ARCH in x86_64 | aarch64) ;; *) die "there is no libtorch for $ARCH on PyPI: set LIBTORCH to one of yours" ;; esac

kind=${QWEN_TUI_LIBTORCH:-$(suggest)}
case $kind in cpu | cu126 | cu128 | cu130) ;; *) die "QWEN_TUI_LIBTORCH=$kind: it is one of cpu, cu126, cu128, cu130" ;; esac
stamp="$VERSION $kind $ARCH"
if wrong=$(check "$DEST"); then
    # Without a stamp it was put there by hand, and stays.
    if [ ! -f "$DEST/stamp" ] || [ "$(cat "$DEST/stamp")" = "$stamp" ]; then
        say "in $DEST already"
        exit
    fi
fi

command -v python3 > /dev/null || die "python3 is missing: install Python 3 with pip, or set LIBTORCH"
python3 -m pip --version > /dev/null 2>&1 || die "pip is missing for $(command -v python3): install it (Debian, Ubuntu: apt install python3-pip), or set LIBTORCH"
TMP=$(mktemp -d "$PWD/.libtorch.XXXXXX") || die "cannot write to $PWD"
trap 'rm -rf "$TMP"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$TMP/new" "$TMP/wheels"
if [ "$kind" = cpu ]; then get_cpu; else get_cuda "$kind"; fi
wrong=$(check "$TMP/new") || die "what pip delivered is not libtorch ${VERSION%.*}: $wrong"
echo "$stamp" > "$TMP/new/stamp"
# Made beside and renamed, so that an interrupted set-up never leaves half a libtorch.
[ ! -e "$DEST" ] || mv "$DEST" "$TMP/old"
mv "$TMP/new" "$DEST"
say "ready in $DEST ($kind)"
