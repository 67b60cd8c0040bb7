#!/bin/sh
# Runs NVIDIA's perf_analyzer against a running server.
#
#   deploy/bench/perf_analyzer.sh MODEL [URL] [further options of perf_analyzer]
#
# The program comes from the wheel tritonclient 2.41.1, the last one that carries it; it needs libb64 (Debian:
# libb64-0d) and a libcudart.so.12, for which the one in the nvidia-pytriton wheel serves.
#
# It begins by asking for the trace settings, which `neurips16 serve` keeps for who has the admin token. Name the file
# that the server's "ready" line names, or the token itself:
#
#   NEURIPS16_ADMIN_TOKEN_FILE=/tmp/neurips16-serve-…/admin-token deploy/bench/perf_analyzer.sh MODEL
#
# The program takes headers on its command line only, so the list of processes shows the token while it runs: on a
# machine that others use, too, give that server a token of its own, and a new one afterwards. For TLS, its own options
# --ssl-grpc-use-ssl, --ssl-grpc-root-certifications-file and so on follow.
set -eu

model=${1:?usage: $0 MODEL [URL] [options]}
url=${2:-localhost:8001}
[ $# -ge 2 ] && shift 2 || shift
python=${PYTHON:-.venv/bin/python}
cache=build/perf_analyzer

ldconfig -p | grep -q libb64.so || { echo "perf_analyzer needs libb64: apt-get install libb64-0d" >&2; exit 1; }
if [ ! -d "$cache" ]; then
    # Made aside and renamed: a download that failed leaves nothing that the next start would take for whole.
    mkdir -p build
    aside=$(mktemp -d build/perf_analyzer.XXXXXX)
    trap 'rm -rf "$aside"' EXIT
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$aside" \
        --platform manylinux1_x86_64 --only-binary=:all: tritonclient==2.41.1
    "$python" - "$aside" <<'PY'
import pathlib, shutil, sys, sysconfig, zipfile
aside = pathlib.Path(sys.argv[1])
wheel = next(aside.glob("tritonclient-*.whl"))
with zipfile.ZipFile(wheel) as archive:
    member = next(name for name in archive.namelist() if name.endswith(("/bin/perf_analyzer", "scripts/perf_analyzer")))
    (aside / "perf_analyzer").write_bytes(archive.read(member))
(aside / "perf_analyzer").chmod(0o755)
wheel.unlink()
libs = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nvidia_pytriton.libs"
shutil.copy(next(libs.glob("libcudart*")), aside / "libcudart.so.12")
PY
    mv -T "$aside" "$cache"
    trap - EXIT
fi
if [ -n "${NEURIPS16_ADMIN_TOKEN_FILE:-}" ]; then
    NEURIPS16_ADMIN_TOKEN=$(cat "$NEURIPS16_ADMIN_TOKEN_FILE")
fi
if [ -n "${NEURIPS16_ADMIN_TOKEN:-}" ]; then
    set -- -H "triton-grpc-protocol-neurips16-admin:$NEURIPS16_ADMIN_TOKEN" "$@"
fi
LD_LIBRARY_PATH="$cache${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$cache/perf_analyzer" -m "$model" -i grpc -u "$url" "$@"
