# shellcheck shell=bash
# Sourced: messages of the setup scripts, and root privileges after one question.

# Ctrl-C ends a script, also if the program that it interrupts exits with a failure of its own, as pip does.
trap 'exit 130' INT

say() { printf 'lanner: %s\n' "$*" >&2; }

# at_end FUNCTION: call it with the exit status when the script ends, also by a signal. Further signals, or a terminal
# that is gone, don't interrupt it.
at_end() {
    # shellcheck disable=SC2064  # the function's name
    trap "trap '' INT TERM HUP; trap - EXIT; set +e; $1 \$?" EXIT
    trap 'trap "" INT TERM HUP; exit 0' INT TERM HUP
}

# as_root COMMAND...: run it as root. Call `may_be_root` first.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# as_owner COMMAND...: run it as the user who called sudo, so that no file of the checkout becomes root's.
as_owner() {
    if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        sudo -u "$SUDO_USER" -H --preserve-env=PYTHON,PIP_CONFIG_FILE,PIP_INDEX_URL,PIP_FIND_LINKS,PIP_CERT "$@"
    else
        "$@"
    fi
}

# may_be_root REASON: true if root privileges may be used for REASON. Asks at most once per run, and never without a
# terminal, as root, or with YES=1.
may_be_root() {
    [ "$(id -u)" -eq 0 ] && return 0
    [ "${LANNER_SUDO:-}" = no ] && return 1
    if ! command -v sudo >/dev/null; then
        LANNER_SUDO=no
    elif [ "${LANNER_SUDO:-}" = yes ] || [ "${YES:-}" = 1 ] || [ ! -t 0 ] || [ ! -t 2 ]; then
        LANNER_SUDO=yes
    else
        read -r -p "lanner: use sudo to $1? [Y/n] " answer || answer=n
        case "$answer" in
            '' | [Yy]*) LANNER_SUDO=yes ;;
            *) LANNER_SUDO=no ;;
        esac
    fi
    export LANNER_SUDO
    [ "$LANNER_SUDO" = yes ]
}
