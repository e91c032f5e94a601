#!/bin/sh
# Runs in the build of an image: makes root directories without shell and package manager.
#
#   root.sh FOLDER      FOLDER/python: Debian's Python with the libraries that it and Lanner need
#                       FOLDER/lanner, FOLDER/root: the writable folders of an image that runs as that user
set -eu
packages='base-files ca-certificates libbz2-1.0 libc6 libcrypt1 libexpat1 libffi8 libgcc-s1 liblzma5 libpython3-stdlib
    libpython3.11-minimal libpython3.11-stdlib libsqlite3-0 libssl3 libstdc++6 libuuid1 media-types python3
    python3-minimal python3.11 python3.11-minimal tzdata zlib1g'
root=$1/python
install -d "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/sbin" "$root/var/lib/dpkg/status.d"
for name in bin lib lib64 sbin; do ln -s "usr/$name" "$root/$name"; done
for package in $packages; do
    # Read by what lists the packages of an image.
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
    dpkg-query -L "$package"
done >"$1/listed"
# OpenSSL finds certificates by /usr/lib/ssl; the collector's self-test starts /bin/true.
printf '%s\n' /etc/group /etc/nsswitch.conf /etc/passwd /etc/ssl/certs /usr/lib/ssl/certs /usr/bin/true \
    /usr/share/doc/coreutils/copyright >>"$1/listed"
# Documentation is left out, except the licenses.
sed -E '\,^/usr/share/(doc/.*/copyright$|zoneinfo|ca-certificates),!{\,^/usr/share/,d}' "$1/listed" | sort -u |
    while read -r path; do if [ -L "$path" ] || [ ! -d "$path" ] || [ "$path" = /etc/ssl/certs ]; then echo "$path"; fi; done >"$1/files"
tar -C / -cf "$1/tar" -T "$1/files"
tar -C "$root" --keep-directory-symlink -xf "$1/tar"
python3 -m compileall -q -s "$root" -p / --invalidation-mode unchecked-hash "$root/usr/lib/python3.11"
install -d -m 1777 "$root/tmp"
install -d -o lanner -g lanner -m 0700 "$1/lanner/var/lib/lanner"
install -d -m 0700 "$1/root/var/lib/lanner" "$1/root/var/cache/lanner"
