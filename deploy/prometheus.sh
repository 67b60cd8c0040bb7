#!/bin/sh
# Fetches Prometheus and promtool for the tests of the alerts and the dashboard.
#
#   deploy/prometheus.sh PREFIX      PREFIX/bin/prometheus and PREFIX/bin/promtool
#
# They come from Debian's own package, through apt, which checks the archive's signature. It is unpacked and not
# installed, with lists of apt in a folder of our own: root is not needed, nothing is started, the system stays as it is.
# Elsewhere: put the two programs on PATH.
set -eu

say() { echo "prometheus: $*"; }
fail() {
    echo "prometheus: $*; put prometheus and promtool on PATH" >&2
    exit 1
}

[ $# -eq 1 ] || { echo "usage: $0 PREFIX" >&2; exit 2; }
prefix=$1

for there in "$prefix/bin/prometheus" "$(command -v prometheus || true)"; do
    if [ -n "$there" ] && [ -x "$there" ] && [ -x "$(dirname "$there")/promtool" ]; then
        say "already in $(dirname "$there")"
        exit 0
    fi
done

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "apt-get and dpkg-deb are needed"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/download"
# apt downloads as its own unprivileged user when root calls it.
if [ "$(id -u)" -eq 0 ] && id _apt >/dev/null 2>&1; then
    chmod 755 "$work"
    chown _apt "$work/download" "$work/lists/partial" "$work/cache/archives/partial"
fi
private_apt() {
    apt-get -q -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Acquire::Languages=none "$@"
}
say "taking Debian's package (download and unpack only)"
private_apt update >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "apt could not read its package lists"; }
(cd "$work/download" && private_apt download prometheus) >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "apt could not download the package"; }
dpkg-deb --extract "$work"/download/*.deb "$work/unpacked"
mkdir -p "$prefix/bin"
cp "$work/unpacked/usr/bin/prometheus" "$work/unpacked/usr/bin/promtool" "$prefix/bin/"
say "$("$prefix/bin/promtool" --version | head -n 1) -> $prefix/bin"
