#!/bin/sh
# install-man.sh - makes the man pages from the program's table of commands, where they belong.
# Run by `meson install`.
#
#   scripts/install-man.sh STRATA MANDIR
set -eu

strata=${1:?the program}
case ${2:?directory of the man pages} in
/*) dir=${DESTDIR:-}$2/man1 ;;
*) dir=${MESON_INSTALL_DESTDIR_PREFIX:?}/$2/man1 ;;
esac
mkdir -p "$dir"
"$strata" help --man strata >"$dir/strata.1"
# The list of commands in strata(1): ".It Cm fact set Ar ENTITY ATTRIBUTE VALUE"
sed -n 's/^\.It Cm //p' "$dir/strata.1" | sed 's/ Ar .*//; s/ *$//' | sort -u |
    while read -r command; do
        # shellcheck disable=SC2086 # a command of one or two words
        "$strata" help --man $command >"$dir/strata-$(echo "$command" | tr ' ' -).1"
    done
