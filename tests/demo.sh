#!/bin/sh
# demo.sh - `make demo` where nothing but a clone is there: no real data beside it, and a remote that
# nobody answers for.
#
#   BUILD=build tests/demo.sh
set -eu

: "${BUILD:?build directory}"
out=$(mktemp)
trap 'rm -f "$out"' EXIT INT TERM

fail() {
    echo "demo.sh: $*" >&2
    cat "$out" >&2
    exit 1
}

STRATA_SHARED=/nonexistent GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.gone.url \
    GIT_CONFIG_VALUE_0=/nonexistent/gone.git \
    "$(dirname "$0")/../scripts/demo.sh" 8 1 >"$out" 2>&1 || fail "it ended with status $?"
grep -q ' 120 operations written' "$out" || fail "nothing was imported"
for word in written current replaced removed pending; do
    grep -Eq "^ +$word +[0-9]" "$out" || fail "the report does not say what was $word"
done
grep -Eq '^ +lost +0 ' "$out" || fail "the report does not say that nothing was lost"
[ "$(grep -Ec '^ +lost ' "$out")" = 2 ] || fail "the same fleet on a plain file is missing"
