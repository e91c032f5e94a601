#!/bin/sh
# Runs in the build of an image, where /opt/lanner is a virtual environment.
#
#   build.sh needs EXTRAS     install what Lanner with these extras needs, by constraints.txt
#   build.sh wheel            make a wheel of the sources here
#   build.sh lanner           install it, and take out what an image that runs doesn't need
set -eu
# pip keeps certificates of its own; a proxy's authority stands among the system's.
export PIP_CONSTRAINT=constraints.txt PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_NO_CACHE_DIR=1
pip() { /opt/lanner/bin/python -m pip --disable-pip-version-check -q "$@"; }
case $1 in
    needs)
        # The same project with no package in it yet.
        touch README.md
        pip install ".[$2]"
        ;;
    wheel) pip wheel --no-deps --wheel-dir wheel . ;;
    lanner)
        pip install --no-deps --force-reinstall wheel/*.whl
        pip uninstall -y pip setuptools
        ;;
    *) exit 2 ;;
esac
