#!/usr/bin/env bash
# Put `lanner` on everybody's PATH: a link to this checkout's program, and what lets shells complete its commands; or
# remove both.
#
#   install.sh install|uninstall     PREFIX=/usr/local, DESTDIR= as usual
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/setup/ask.sh
. deploy/setup/ask.sh

prefix=${DESTDIR:-}${PREFIX:-/usr/local}
link=$prefix/bin/lanner
bash=$prefix/share/bash-completion/completions/lanner
zsh=$prefix/share/zsh/site-functions/_lanner
fish=$prefix/share/fish/vendor_completions.d/lanner.fish
program=$PWD/.venv/bin/lanner
folder=$(dirname "$link")

# near FOLDER: it, or the nearest folder above it that exists.
near() {
    local folder=$1
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    printf '%s' "$folder"
}

change() {
    if [ -w "$(near "$folder")" ]; then
        "$@"
    elif may_be_root "change $link"; then
        as_root "$@"
    else
        say "changing $link needs root privileges."
        exit 3
    fi
}

# complete SHELL FILE: write the script that a shell loads when somebody completes `lanner`.
complete() {
    # shellcheck disable=SC2016 # The inner shell expands them.
    change sh -c 'mkdir -p "$(dirname "$3")" && "$1" completion "$2" >"$3"' sh "$program" "$1" "$2"
}

is_ours() { [ -L "$link" ] && [ "$(readlink "$link")" = "$program" ]; }

case ${1:-} in
    install)
        if [ ! -x "$program" ]; then
            say "run \`make setup\` first."
            exit 3
        fi
        if ! is_ours; then
            if [ -e "$link" ] || [ -L "$link" ]; then
                say "$link exists and is not a link to this checkout: remove it first."
                exit 1
            fi
            change mkdir -p "$folder"
            change ln -s "$program" "$link"
        fi
        complete bash "$bash"
        complete zsh "$zsh"
        complete fish "$fish"
        say "$link -> $program"
        ;;
    uninstall)
        if is_ours; then
            change rm -f "$link" "$bash" "$zsh" "$fish"
            # Folders that only these files needed.
            # shellcheck disable=SC2016 # The inner shell expands them.
            change sh -c 'cd "$1/share" && rmdir -p --ignore-fail-on-non-empty "${2#"$1/share/"}" "${3#"$1/share/"}" "${4#"$1/share/"}" || true' \
                sh "$prefix" "$(dirname "$bash")" "$(dirname "$zsh")" "$(dirname "$fish")"
            say "removed $link. Settings and data in /etc/lanner, /var/lib/lanner, /var/log/lanner and /var/cache/lanner stay."
        else
            say "$link is not a link to this checkout: nothing to remove."
        fi
        ;;
    *) exit 2 ;;
esac
