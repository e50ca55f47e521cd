#!/bin/sh
# deps.sh - installs the Debian packages that are missing, and says so; does nothing when all are
# there.
#
#   scripts/deps.sh build    what the program and the demo need
#   scripts/deps.sh check    the tests too
#   scripts/deps.sh style    clang-format, clang-tidy, shellcheck
set -eu

build="gcc meson ninja-build pkg-config libsqlite3-dev libjansson-dev libxxhash-dev"
check="libcmocka-dev bats mandoc jq valgrind clang libclang-rt-14-dev
       python3 spin bubblewrap zsh fish"
style="clang-format clang-tidy shellcheck"

case ${1:-build} in
build) wanted=$build ;;
check) wanted="$build $check" ;;
style) wanted=$style ;;
*)
    echo "usage: scripts/deps.sh build|check|style" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "deps.sh: this is no Debian; please see to it that these are there: $wanted"
    exit 0
fi

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] && return 0
    # In newer releases another package provides it.
    [ "$1" = pkg-config ] && command -v pkg-config >/dev/null
}

missing=
for package in $wanted; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# Says what somebody else has to do.
by_hand() {
    echo "deps.sh: $1 Missing are Debian packages; as root, run: apt-get install$missing" >&2
    exit 1
}

as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || by_hand "You are not root, and there is no sudo here."
    as_root=sudo
fi

echo "deps.sh: installing$missing"
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@"
}
# The lists of packages may be older than the packages.
# shellcheck disable=SC2086 # a list of words
apt install -y --no-install-recommends $missing >/dev/null 2>&1 || {
    apt update || by_hand "apt-get update failed."
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends $missing >/dev/null || by_hand "apt-get install failed."
}
