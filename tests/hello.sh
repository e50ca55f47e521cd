#!/bin/sh
# hello.sh - the worked example of the C API compiles without a warning, with the flags that
# pkg-config gives, runs, and prints what it should.
#
#   STRATA=build/strata STRATA_PKG_CONFIG_PATH=build/meson-uninstalled tests/hello.sh
set -eu

: "${STRATA:?path of the program}" "${STRATA_PKG_CONFIG_PATH:?directory of strata-uninstalled.pc}"
source=$(cd "$(dirname "$0")/.." && pwd)/examples/hello.c
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
unset STRATA_DIR STRATA_STATE_DIR STRATA_AGENT

flags=$(PKG_CONFIG_PATH=$STRATA_PKG_CONFIG_PATH pkg-config --cflags --libs strata)
# shellcheck disable=SC2086 # a list of words
${CC:-cc} -std=c11 -Wall -Wextra -Werror "$source" $flags \
    ${STRATA_SANITIZE:+-fsanitize="$STRATA_SANITIZE"} -o "$dir/hello"

cd "$dir"
# Without a workspace it says so.
if ./hello >out 2>err; then
    echo "hello.sh: no workspace, and no error" >&2
    exit 1
fi
grep -q 'strata init' err

"$STRATA" init >/dev/null
./hello >out
cat >expected <<'END'
port is 8080
port is 9090; that replaced 8080 of hello
not 8080 any more, so nothing was written
port is 9090
its history, newest first:
  9090 by hello (current)
  8080 by hello
END
diff -u expected out
