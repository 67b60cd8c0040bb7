#!/bin/sh
# Writes the secrets that compose.yaml asks for: the admin token of Triton, and the password of Grafana.
#
#   deploy/compose/secrets.sh [FILE]      FILE: .env beside compose.yaml, unless given
#
# Only its owner may read the file, from its first byte on. One that is there is not touched: to change a secret, remove
# the file, or edit it.
set -eu

file=${1:-$(dirname "$0")/.env}
umask 077
token=$(openssl rand -hex 32)
password=$(openssl rand -hex 16)
set -C # the shell refuses to write over a file, and follows no link to one that is not there
printf 'NEURIPS16_ADMIN_TOKEN=%s\nGRAFANA_PASSWORD=%s\n' "$token" "$password" 2>/dev/null >"$file" ||
    { echo "$0: $file cannot be written, or is there already: remove it for new secrets" >&2; exit 2; }
echo "$file: the admin token, and Grafana's password (user admin)"
