#!/bin/sh
# purity.sh - dependencies point one way, src/core touches nothing but memory, and the tour of the files in
# docs/architecture.md knows every header below lib.
#
#   tests/purity.sh [LIBCORE_A]
#
# core    includes itself and stddef, stdint, stdbool, limits, string; needs mem* and strlen only
# store   does not know files, strong, sync, lib, edge, mcp, cli
# strong, files, sync  know neither each other nor lib, edge, mcp, cli
# lib     does not know edge, mcp, cli         edge    what mcp and cli share; like them it knows
# mcp     does not know cli                            strata.h and no other header of the library:
# cli     knows all three                              no private door
set -eu

cd "$(dirname "$0")/.."
failed=0

fail() {
    echo "purity.sh: $*" >&2
    failed=1
}

# includes DIR...: "file: <header>" or "file: "header"" for every #include below
includes() {
    grep -rHoE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"][^>"]*[>"]' "$@" |
        sed -E 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*/: /'
}

# refuse DIR PATTERN: no include in src/DIR may match
refuse() {
    [ -d "src/$1" ] || return 0
    found=$(includes "src/$1" | grep -E ": [<\"](\.\./)*(src/)?($2)" || true)
    [ -z "$found" ] || fail "src/$1 must not include this:
$found"
}

# Would it notice anything? The look through src/core has to find its includes at all.
[ "$(includes src/core | wc -l)" -gt 10 ] || fail "no includes found in src/core"

found=$(includes src/core |
    grep -vE ': ("core/[a-z_]+\.h"|<(stddef|stdint|stdbool|limits|string)\.h>)$' || true)
[ -z "$found" ] || fail "src/core must not include this:
$found"

refuse store 'files/|strong/|sync/|lib/|edge/|mcp/|cli/|strata\.h'
refuse files 'strong/|sync/|lib/|edge/|mcp/|cli/|strata\.h'
refuse strong 'files/|sync/|lib/|edge/|mcp/|cli/'
refuse sync 'files/|strong/|lib/|edge/|mcp/|cli/|strata\.h'
refuse lib 'edge/|mcp/|cli/'
refuse edge 'core/|store/|files/|strong/|sync/|lib/|mcp/|cli/'
refuse mcp 'core/|store/|files/|strong/|sync/|lib/|cli/'
# Merging texts needs no workspace.
refuse cli 'core/|store/|files/(block|kept|registry|replace|view)|strong/|sync/|lib/'

if [ $# -gt 0 ]; then
    # Symbols that the archive needs and does not define itself. A sanitizer adds its own.
    needed=$(nm "$1" 2>/dev/null |
        awk '$1 == "U" {needed[$2] = 1} NF == 3 {defined[$3] = 1}
             END {for (s in needed) if (!(s in defined)) print s}' | sort)
    [ -n "$needed" ] || fail "no symbols found in $1"
    extra=$(printf '%s\n' "$needed" |
        grep -vE '^(memcpy|memmove|memcmp|memset|memchr|strlen|_GLOBAL_OFFSET_TABLE_)$' |
        grep -vE '^__(asan|ubsan|tsan|msan|sanitizer|gcov|llvm)_' || true)
    [ -z "$extra" ] || fail "the core needs more than memory:
$extra"
fi

# Who adds a header below lib says in the tour where it is read.
headers=$(find src/core src/store src/strong src/files src/sync -name '*.h' ! -name '*_internal.h')
[ -n "$headers" ] || fail "no headers found"
for header in $headers; do
    grep -qw "$(basename "$header" .h)\.[ch]" docs/architecture.md ||
        fail "docs/architecture.md does not name $header"
done
exit "$failed"
