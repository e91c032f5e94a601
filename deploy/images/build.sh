#!/bin/sh
# Runs in the build of an image, where /opt/lanner is a virtual environment.
#
#   build.sh needs EXTRAS [ARCHITECTURE]   install what Lanner with these extras requires for an architecture, in the
#                                          versions of constraints.txt
#   build.sh lanner FOLDER                 install Lanner itself, from the sources here, in a root folder
set -eu
# pip has its own certificates; a proxy's CA is among the system's.
export PIP_CONSTRAINT=constraints.txt PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_NO_CACHE_DIR=1
pip() { /opt/lanner/bin/python -m pip --disable-pip-version-check -q "$@"; }
case $1 in
    needs)
        # The same project without any package in it.
        touch README.md
        # The base's own takes twice the time for what follows.
        pip install pip
        pip install ".[$2]"
        here=$(dpkg --print-architecture)
        [ "${3:-$here}" = "$here" ] || /opt/lanner/bin/python foreign.py /opt/lanner/lib/python3*/site-packages
        # A running image doesn't need them.
        pip uninstall -y pip setuptools
        ;;
    lanner)
        pip wheel --no-deps --wheel-dir wheel .
        pip install --no-deps --root "$2" wheel/*.whl
        # Where commands in a container name the rules, whatever the version of Python.
        install -d "$2/usr/share/lanner"
        ln -s "/$(cd "$2" && echo opt/lanner/lib/python3*/site-packages/rules)" "$2/usr/share/lanner/rules"
        ;;
    *) exit 2 ;;
esac
