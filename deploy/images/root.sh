#!/bin/sh
# Runs in the build of an image: makes root directories without package manager, of Debian's packages for an
# architecture, whose programs aren't run.
#
#   root.sh FOLDER [ARCHITECTURE]     FOLDER/python: Debian's Python with the libraries that it and Lanner need
#                                     FOLDER/shell: a shell with basic commands
#                                     FOLDER/lanner, FOLDER/root: the writable folders of an image that runs as that user
#                                     FOLDER/archive: that of the archive's image
set -eu
packages='base-files ca-certificates libbz2-1.0 libc6 libcrypt1 libexpat1 libffi8 libgcc-s1 liblzma5 libpython3-stdlib
    libpython3.11-minimal libpython3.11-stdlib libsqlite3-0 libssl3 libstdc++6 libuuid1 media-types python3
    python3-minimal python3.11 python3.11-minimal tzdata zlib1g'
shell='coreutils dash libacl1 libattr1 libgmp10 libpcre2-8-0 libselinux1'
system=/system
# shellcheck disable=SC2086  # several names
./debian.sh "${2:-$(dpkg --print-architecture)}" $system $packages $shell

# unpacked ROOT PACKAGE...: make a root with the files of these packages, and with those that $further names.
unpacked() {
    root=$1
    shift
    install -d "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/sbin" "$root/var/lib/dpkg/status.d"
    for name in bin lib lib64 sbin; do ln -s "usr/$name" "$root/$name"; done
    for package; do
        # Read by what lists the packages of an image.
        dpkg-query --admindir=$system/var/lib/dpkg -s "$package" >"$root/var/lib/dpkg/status.d/$package"
        cat "$system/var/lib/dpkg/info/$package.list"
    done >"$root.listed"
    # Documentation is left out, except the licenses.
    { echo "$further"; sed -E '\,^/usr/share/(doc/.*/copyright$|zoneinfo|ca-certificates),!{\,^/usr/share/,d}' "$root.listed"; } |
        sort -u | while read -r path; do
            if [ -L "$system$path" ] || [ ! -d "$system$path" ]; then echo ".$path"; fi
        done >"$root.files"
    tar -C $system -cf "$root.tar" -T "$root.files"
    tar -C "$root" --keep-directory-symlink -xf "$root.tar"
}

# The collector's self-test starts /bin/true.
further='/bin/true
/usr/share/doc/coreutils/copyright'
# shellcheck disable=SC2086  # several names
unpacked "$1/python" $packages
# Written by the installation of packages, the same for all architectures. OpenSSL finds certificates by /usr/lib/ssl.
tar -C / -c etc/group etc/nsswitch.conf etc/passwd etc/ssl/certs usr/lib/ssl/certs | tar -C "$1/python" -x
python3 -m compileall -q -s "$1/python" -p / --invalidation-mode unchecked-hash "$1/python/usr/lib/python3.11"
install -d -m 1777 "$1/python/tmp"
further=
# shellcheck disable=SC2086  # several names
unpacked "$1/shell" $shell
for name in bin lib lib64 sbin; do rm "$1/shell/$name"; done
install -d -o lanner -g lanner -m 0700 "$1/lanner/var/lib/lanner"
install -d -o lanner -g lanner -m 0700 "$1/archive/var/lib/lanner-archive"
install -d -m 0700 "$1/root/var/lib/lanner" "$1/root/var/cache/lanner"
