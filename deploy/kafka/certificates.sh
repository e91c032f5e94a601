#!/usr/bin/env bash
# A private certificate authority for a broker and its clients: what deploy/kafka/secured.properties needs.
#
#   certificates.sh authority FOLDER                 ca.crt and ca.key; keep ca.key off every machine of the fleet
#   certificates.sh broker    FOLDER NAME HOST...    NAME.pem for the broker; HOST: each name or address of it
#   certificates.sh client    FOLDER NAME            NAME.crt and NAME.key; the broker knows the client as User:NAME
#
# LANNER_CERTIFICATE_DAYS=365. Run it again to renew: files of the same name are replaced, the authority never.
set -euo pipefail
umask 077

fail() { echo "certificates.sh: $1" >&2; exit 2; }
usage() { sed -n 's/^#   certificates.sh/  certificates.sh/p' "$0" >&2; exit 2; }

[ $# -ge 2 ] || usage
what=$1 folder=$2
shift 2
days=${LANNER_CERTIFICATE_DAYS:-365}
mkdir -p "$folder"
cd "$folder"

new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# issue NAME EXTENSIONS...: create a key and a certificate. The extensions limit it to one role, so that a client cannot
# pose as a broker, and a broker is not a client by mistake.
issue() {
    local name=$1
    shift
    [[ $name =~ ^[A-Za-z0-9._-]+$ ]] || fail "$name is not a valid name: use letters, digits, dots, dashes and underscores"
    [ -e ca.key ] || fail "there is no ca.key in $PWD: run 'certificates.sh authority' first"
    new_key "$name.key.new"
    openssl req -new -key "$name.key.new" -subj "/CN=$name" -out "$name.csr"
    printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature "$@" >"$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" \
        -days "$days" -extfile "$name.ext" -out "$name.crt.new" 2>/dev/null
    mv "$name.key.new" "$name.key"
    mv "$name.crt.new" "$name.crt"
    rm "$name.csr" "$name.ext"
}

case $what in
authority)
    [ ! -e ca.key ] || fail "$PWD has an authority already"
    new_key ca.key
    openssl req -new -x509 -key ca.key -subj "/CN=Lanner's Kafka" -days 3650 -out ca.crt \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
    chmod 644 ca.crt
    ;;
broker)
    [ $# -ge 2 ] || usage
    name=$1
    shift
    names=
    for host in "$@"; do
        kind=DNS
        [[ $host =~ ^[0-9.]+$ || $host == *:* ]] && kind=IP
        names+=${names:+,}$kind:$host
    done
    # Brokers are clients of each other.
    issue "$name" extendedKeyUsage=serverAuth,clientAuth "subjectAltName=$names"
    cat "$name.key" "$name.crt" >"$name.pem"
    rm "$name.key" "$name.crt"
    ;;
client)
    [ $# -eq 1 ] || usage
    issue "$1" extendedKeyUsage=clientAuth
    ;;
*) usage ;;
esac
