#!/bin/sh
# Fetches the ONNX Runtime headers that the custom-op library is compiled against.
#
#   deploy/onnxruntime_headers.sh PREFIX      headers land in PREFIX/include/onnxruntime
#
# The headers come from Debian's own package libonnxruntime-dev, through apt, which checks the archive's signature.
# Debian 13 and later have it; on Debian 12 the next suite's package is taken, with a source entry made from this
# machine's own entry, in an apt directory of our own: neither the system's sources nor its packages are touched, so
# root is not needed (and does no harm). Elsewhere: set ONNXRUNTIME_INCLUDE_DIR to a folder that holds
# onnxruntime_c_api.h and onnxruntime_cxx_api.h of ONNX Runtime 1.21 or later.
set -eu

PACKAGE=libonnxruntime-dev
OLDEST_SUITE=trixie # the first Debian release with the package

say() { echo "onnxruntime headers: $*"; }
fail() {
    echo "onnxruntime headers: $*" >&2
    echo "set ONNXRUNTIME_INCLUDE_DIR to a folder with the headers of ONNX Runtime 1.21 or later" >&2
    exit 1
}

[ $# -eq 1 ] || { echo "usage: $0 PREFIX" >&2; exit 2; }
prefix=$1
target=$prefix/include/onnxruntime

for there in "${ONNXRUNTIME_INCLUDE_DIR:-}" "$target" /usr/include/onnxruntime; do
    if [ -n "$there" ] && [ -f "$there/onnxruntime_cxx_api.h" ]; then
        say "already in $there"
        exit 0
    fi
done

[ -r /etc/os-release ] || fail "no /etc/os-release: this is not Debian"
. /etc/os-release
[ "${ID:-}" = debian ] || fail "this is ${PRETTY_NAME:-an unknown system}, not Debian"
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "apt-get and dpkg-deb are needed"
own_suite=${VERSION_CODENAME:?/etc/os-release names no suite}
case ${VERSION_ID:-} in
    12) suite=$OLDEST_SUITE ;;
    [0-9] | 1[01]) fail "Debian ${VERSION_ID} is too old: the package's headers come with Debian 13" ;;
    *) suite=$own_suite ;; # 13 and later, and testing or unstable, which have no VERSION_ID
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$work/sources" "$work/lists/partial" "$work/cache/archives/partial" "$work/download"

# This machine's entry for the main archive, in either of apt's two formats, with the suite changed. Mirrors, options
# and keys stay as they are; proxies and the like are in apt's own configuration, which is still read.
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -r "$file" ] || continue
    awk -v own="$own_suite" -v suite="$suite" '
        $1 == "deb" {
            at = 2                                      # the URI, after options in square brackets
            if ($2 ~ /^\[/) { while ($at !~ /\]$/ && at < NF) at++; at++ }
            if ($(at + 1) == own && / main( |$)/) { $(at + 1) = suite; print; exit }
        }' "$file" >>"$work/sources/next.list"
done
for file in /etc/apt/sources.list.d/*.sources; do
    [ -r "$file" ] || continue
    awk -v own="$own_suite" -v suite="$suite" '
        BEGIN { RS = ""; FS = "\n" }
        {
            wanted = 0; enabled = 1; text = ""
            for (i = 1; i <= NF; i++) {
                line = $i
                if (line ~ /^#/) continue
                field = line; sub(/:.*/, "", field); field = tolower(field)
                if (field == "suites") { wanted = (line " ") ~ ("[: ]" own " "); line = "Suites: " suite }
                if (field == "types") line = "Types: deb"
                if (field == "enabled" && line ~ /: *no/) enabled = 0
                text = text line "\n"
            }
            if (wanted && enabled) print text
        }' "$file" >>"$work/sources/next.sources"
done
[ -s "$work/sources/next.list" ] || rm -f "$work/sources/next.list"
[ -s "$work/sources/next.sources" ] || rm -f "$work/sources/next.sources"
[ -n "$(ls "$work/sources")" ] || fail "/etc/apt has no entry for the suite $own_suite to make one for $suite from"

# apt downloads as its own unprivileged user when root calls it.
if [ "$(id -u)" -eq 0 ] && id _apt >/dev/null 2>&1; then
    chmod 755 "$work"
    chown _apt "$work/download" "$work/lists/partial" "$work/cache/archives/partial"
fi
private_apt() {
    apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/sources" \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Acquire::Languages=none "$@"
}

say "taking $PACKAGE from Debian's suite $suite (download and unpack only; the system stays as it is)"
private_apt update >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "apt could not read the package list of $suite"; }
(cd "$work/download" && private_apt download "$PACKAGE/$suite") >"$work/log" 2>&1 ||
    (cd "$work/download" && private_apt download "$PACKAGE") >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "apt could not download $PACKAGE from $suite"; }

dpkg-deb --extract "$work"/download/*.deb "$work/unpacked"
found=$(dirname "$(find "$work/unpacked" -name onnxruntime_cxx_api.h | head -n 1)")
[ -f "$found/onnxruntime_c_api.h" ] || fail "$PACKAGE of $suite holds no onnxruntime_cxx_api.h"
mkdir -p "$(dirname "$target")"
rm -rf "$target"
cp -R "$found" "$target"
api=$(sed -n 's/^#define ORT_API_VERSION \([0-9]*\)/\1/p' "$target/onnxruntime_c_api.h")
say "$(basename "$work"/download/*.deb) -> $target (ORT API $api)"
