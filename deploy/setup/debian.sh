#!/usr/bin/env bash
# Unpack packages of Debian for an architecture, and all that they need, into a folder, with dpkg's database of them.
# Nothing is installed there, and this machine's architectures, lists and packages stay as they are.
#
#   debian.sh ARCHITECTURE FOLDER PACKAGE...
set -euo pipefail
architecture=$1 target=$(realpath -m "$2")
shift 2
place=$(mktemp -d /var/tmp/lanner-debian-XXXXXX)
half=$target.$$
trap 'rm -rf "$place" "$half"' EXIT
database=$half/var/lib/dpkg
mkdir -p "$place"/{state/lists,cache/archives}/partial "$database"/{info,updates}
touch "$place/status"
cat >"$place/apt.conf" <<END
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::State "$place/state";
Dir::State::status "$place/status";
Dir::Cache "$place/cache";
END
export APT_CONFIG=$place/apt.conf
# Some parts of the archive lack some architectures, for which this fails.
apt-get update -qq >/dev/null 2>&1 || true
apt-get install -qq -y --download-only "$@" >/dev/null
for file in "$place"/cache/archives/*.deb; do
    dpkg-deb --extract "$file" "$half"
    { dpkg-deb --field "$file"; printf 'Status: install ok installed\n\n'; } >>"$database/status"
    dpkg-deb --fsys-tarfile "$file" | tar -t | sed 's#^\.##; s#/$##; s#^$#/.#' >"$database/info/$(dpkg-deb --field "$file" Package).list"
done
rm -rf "$target"
mv "$half" "$target"
