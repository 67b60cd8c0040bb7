#!/bin/sh
# Makes a certificate authority of one's own, and certificates of it for the server and for one client.
#
#   deploy/compose/certificates.sh FOLDER NAME...      NAME: what clients call the server, a host name or an address
#
# For trying, and for a small closed set of clients; elsewhere the certificates come from your own authority.
# The server takes tls.crt, tls.key and ca.crt; a client client.crt, client.key and ca.crt. ca.key signs further
# clients: keep it elsewhere. All are valid for a year.
set -eu

[ $# -ge 2 ] || { echo "usage: $0 FOLDER NAME..." >&2; exit 2; }
folder=$1
shift
[ ! -e "$folder/ca.key" ] || { echo "$0: $folder/ca.key is there already: remove the folder for new ones" >&2; exit 2; }
umask 077
mkdir -p "$folder"

names=""
for name in "$@"; do
    case $name in
        *[!0-9a-zA-Z.:-]*) echo "$0: $name is neither a host name nor an address" >&2; exit 2 ;;
        *:*) names="$names,IP:$name" ;;
        *[!0-9.]*) names="$names,DNS:$name" ;;
        *) names="$names,IP:$name" ;;
    esac
done
names=${names#,}

new_key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc"
quiet() { "$@" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }; }
signed() { # FILE SUBJECT EXTENSION...
    file=$folder/$1
    subject=$2
    shift 2
    printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" "$@" >"$folder/extensions"
    # shellcheck disable=SC2086  # a list of words
    quiet openssl req -new $new_key -subj "/CN=$subject" -keyout "$file.key" -out "$folder/request"
    quiet openssl x509 -req -in "$folder/request" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -CAcreateserial \
        -days 365 -extfile "$folder/extensions" -out "$file.crt"
}

# shellcheck disable=SC2086
quiet openssl req -x509 $new_key -days 365 -subj "/CN=neurips16 authority" -addext "keyUsage=critical,keyCertSign" \
    -keyout "$folder/ca.key" -out "$folder/ca.crt"
signed tls "$1" "extendedKeyUsage=serverAuth" "subjectAltName=$names"
signed client "neurips16 client" "extendedKeyUsage=clientAuth"
rm -f "$folder/request" "$folder/extensions" "$folder/log" "$folder/ca.srl"
chmod 644 "$folder"/*.crt
echo "$folder: ca.crt, tls.crt (for $*), client.crt, and their keys"
