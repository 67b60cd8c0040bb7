#!/bin/sh
# Sets up a virtual environment with everything that a goal of the Makefile needs.
#
#   deploy/setup.sh VENV demo|dev
#
# On Debian with root or sudo, missing system packages are installed; elsewhere they are named and the rest goes on.
set -eu

venv=$1
extra=$2
say() { echo "==> $*"; }

# apt packages: a command that tells whether each is there, and what it is for
missing=""
need() { # PACKAGE COMMAND PURPOSE
    command -v "$2" >/dev/null 2>&1 || { missing="$missing $1"; say "missing: $1 ($3)"; }
}
need eprover eprover "the prover behind 'neurips16 prove'"
need g++ g++ "compiles the backend that serves models, and the native kernels"
if [ "$extra" = dev ]; then
    need openssl openssl "makes the certificates of the TLS tests"
    need chromium chromium "opens the page in its tests"
    need curl curl "asks the server over HTTP, as the documentation shows"
    command -v npm >/dev/null 2>&1 || need nodejs node "runs models and clients in another language"
    command -v npm >/dev/null 2>&1 || need npm npm "installs what the tests in Node need"
fi
python=""
for candidate in python3.11 python3.12 python3.10 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ] || ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing="$missing python3 python3-venv"
    say "missing: python3 with venv, 3.10 or later"
fi

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then as_root=""; elif command -v sudo >/dev/null; then as_root=sudo; else as_root=none; fi
    if command -v apt-get >/dev/null && [ "$as_root" != none ]; then
        say "installing$missing with apt"
        $as_root apt-get update -qq
        # shellcheck disable=SC2086  # a list of words
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        say "cannot install$missing here: do it by hand; going on without"
    fi
    python=${python:-python3}
fi

if [ ! -x "$venv/bin/python" ]; then
    say "making $venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi
if [ "$extra" = dev ]; then
    deploy/prometheus.sh "$venv" || say "going on without Prometheus: the tests of alerts and dashboard are skipped"
fi
deploy/onnxruntime_headers.sh "$venv" || say "going on without the native libraries: nothing can be served from here"
say "installing what requirements/$extra.txt lists, each file by its hash"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "requirements/$extra.txt"
if [ "$extra" = dev ]; then
    # A build of torch for CPUs lacks nothing now. One for GPUs names its CUDA libraries by exact versions, not by hashes.
    "$venv/bin/pip" install --quiet --disable-pip-version-check -c constraints.txt torch
fi
say "installing neurips16[$extra]"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
if [ "$extra" = dev ]; then # --ignore-scripts: what the locked files hold is all that is needed
    (cd tests/node && npm ci --silent --ignore-scripts --no-audit --no-fund) ||
        say "going on without the packages of Node: the tests in that language are skipped"
fi
# pip hides what the build says.
"$venv/bin/python" -c 'from neurips16.serving.triton import installation
for what, find in ("backend", installation.find_backend), ("native kernels", installation.find_ops_library):
    try:
        print(f"==> {what}:", find() or "NOT BUILT, models run on their function bodies")
    except installation.MissingBackendError as error:
        print(f"==> {what}: {error}")'
say "ready: $venv/bin/neurips16 --help"
